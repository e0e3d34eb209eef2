//! `cargo xtask fixtures [CASE]`: runs the exporters that wrote the tests' reference numbers.
//!
//! An exporter is an `export.py` below a crate's `tests/` folder. What it needs is pinned in a
//! `# /// script` block at its top (PEP 723), else in the nearest `requirements.txt` above it, and
//! is installed into a virtual environment below `target/`, which may be thrown away. A package in
//! `requirements-no-deps.txt` beside that is installed without what it depends on.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::repository;

/// Runs all exporters, or those of the folder named `case`.
pub(crate) fn run(case: Option<&str>) -> Result<()> {
    let root = repository::root();
    let all: Vec<PathBuf> = repository::files()?
        .iter()
        .filter(|file| is_exporter(&file.path))
        .map(|file| root.join(&file.path))
        .collect();
    let chosen: Vec<&PathBuf> = all
        .iter()
        .filter(|path| case.is_none_or(|case| name(path) == case))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = all.iter().map(|path| name(path)).collect();
        bail!(
            "no exporter is called `{}`: there are {}",
            case.unwrap_or_default(),
            names.join(", ")
        );
    }
    for exporter in chosen {
        let requirements = requirements(exporter)?;
        let python = environment(&root, &requirements)?;
        println!("== {}", exporter.display());
        let folder = exporter.parent().context("an exporter lies in a folder")?;
        execute(Command::new(python).arg(exporter).current_dir(folder))?;
    }
    Ok(())
}

fn is_exporter(path: &str) -> bool {
    path.starts_with("crates/") && path.contains("/tests/") && path.ends_with("/export.py")
}

/// The case an exporter belongs to: the name of its folder.
fn name(exporter: &Path) -> &str {
    let folder = exporter.parent().and_then(Path::file_name);
    folder.and_then(|name| name.to_str()).unwrap_or_default()
}

/// The packages an exporter needs, each as pip reads it.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct Requirements {
    /// With what they depend on.
    whole: Vec<String>,
    /// Without.
    alone: Vec<String>,
}

fn requirements(exporter: &Path) -> Result<Requirements> {
    let source = std::fs::read_to_string(exporter)
        .with_context(|| format!("cannot read {}", exporter.display()))?;
    if let Some(whole) = inline_requirements(&source) {
        return Ok(Requirements {
            whole,
            ..Requirements::default()
        });
    }
    for folder in exporter.ancestors().skip(1) {
        if let Some(whole) = listed(&folder.join("requirements.txt")) {
            let alone = listed(&folder.join("requirements-no-deps.txt")).unwrap_or_default();
            return Ok(Requirements { whole, alone });
        }
        if folder.ends_with("tests") {
            break;
        }
    }
    bail!(
        "{} does not say what it needs: put a `# /// script` block with its dependencies at its \
         top, or a requirements.txt beside or above it",
        exporter.display()
    )
}

/// The lines of a list of packages, when there is one.
fn listed(path: &Path) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(path).ok()?;
    let lines = text.lines().map(str::trim);
    let wanted = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Some(wanted.map(str::to_owned).collect())
}

/// The dependencies of a PEP 723 block.
fn inline_requirements(source: &str) -> Option<Vec<String>> {
    let (_, block) = source.split_once("# /// script\n")?;
    let (block, _) = block.split_once("# ///\n")?;
    let (_, list) = block.split_once("dependencies = [")?;
    let (list, _) = list.split_once(']')?;
    // Every second part of a list of strings lies between quotes.
    Some(
        list.split('"')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect(),
    )
}

/// The interpreter of a virtual environment with `requirements`, created when it is not there.
fn environment(root: &Path, requirements: &Requirements) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    requirements.hash(&mut hasher);
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let folder = target
        .join("fixtures")
        .join(format!("{:016x}", hasher.finish()));
    let python = folder.join("bin/python");
    let complete = folder.join("complete");
    if !complete.exists() {
        let Requirements { whole, alone } = requirements;
        println!(
            "== installing {} {} into {}",
            whole.join(" "),
            alone.join(" "),
            folder.display()
        );
        execute(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ];
        execute(Command::new(&python).args(pip).args(whole))?;
        if !alone.is_empty() {
            execute(Command::new(&python).args(pip).arg("--no-deps").args(alone))?;
        }
        std::fs::write(&complete, "")?;
    }
    Ok(python)
}

fn execute(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed ({status})");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exporters_are_found_by_their_path() {
        assert!(is_exporter("crates/vldm/tests/golden/tokenizer/export.py"));
        assert!(!is_exporter("crates/vldm/tests/golden/tokenizer/other.py"));
        assert_eq!(name(Path::new("a/tokenizer/export.py")), "tokenizer");
    }

    #[test]
    fn the_inline_block_goes_before_the_file_above() {
        let folder = tempfile::tempdir().unwrap();
        let case = folder.path().join("tests/parity/sd15");
        std::fs::create_dir_all(&case).unwrap();
        let exporter = case.join("export.py");
        std::fs::write(
            folder.path().join("tests/requirements.txt"),
            "# pins\ntorch==2\n\n",
        )
        .unwrap();
        std::fs::write(&exporter, "print(1)\n").unwrap();
        std::fs::write(
            folder.path().join("tests/requirements-no-deps.txt"),
            "clip\n",
        )
        .unwrap();
        let check = |whole: &[&str], alone: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
            let expected = Requirements {
                whole: owned(whole),
                alone: owned(alone),
            };
            assert_eq!(requirements(&exporter).unwrap(), expected);
        };
        check(&["torch==2"], &["clip"]);
        let inline = "# /// script\n# dependencies = [\"a==1\", \"b\"]\n# ///\n";
        std::fs::write(&exporter, inline).unwrap();
        check(&["a==1", "b"], &[]);
    }

    #[test]
    fn an_exporter_without_requirements_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let exporter = folder.path().join("tests/export.py");
        std::fs::create_dir_all(exporter.parent().unwrap()).unwrap();
        std::fs::write(&exporter, "").unwrap();
        assert!(
            requirements(&exporter)
                .unwrap_err()
                .to_string()
                .contains("requirements.txt")
        );
    }
}
