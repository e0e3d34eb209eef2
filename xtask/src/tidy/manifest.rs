//! Rules across files: no paths of one machine, and presets that the README knows.

use std::collections::BTreeSet;

use super::Report;
use crate::repository::File;

/// Beginnings of paths that exist on one machine only (in parts, so that this file passes).
const MACHINE_PATHS: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
];

/// Refuses absolute paths of a developer's machine, in text and in binary files.
pub(super) fn check_paths(file: &File, report: &mut Report) {
    for (i, line) in file.bytes.split(|&byte| byte == b'\n').enumerate() {
        for path in MACHINE_PATHS {
            if contains_path(line, path.as_bytes()) {
                report.error(format!(
                    "{}:{}: holds a path of one machine, {path}…: make it relative",
                    file.path,
                    i + 1
                ));
            }
        }
    }
}

/// Whether `path` begins somewhere in `line`, and not in the middle of a longer path or address.
fn contains_path(line: &[u8], path: &[u8]) -> bool {
    line.windows(path.len()).enumerate().any(|(i, window)| {
        let before = i.checked_sub(1).map(|i| line[i]);
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~/}>)$".contains(&byte);
        window == path && !before.is_some_and(inside)
    })
}

/// The README's table of presets lists exactly the files in `presets/`.
///
/// The table is the one below a heading with the word "presets"; a preset's name stands in
/// backquotes in the first column.
pub(super) fn check_presets(files: &[File], report: &mut Report) {
    let present: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| file.path.strip_prefix("presets/")?.strip_suffix(".toml"))
        .filter(|name| !name.contains('/'))
        .collect();
    let readme = files
        .iter()
        .find(|file| file.path == "README.md")
        .and_then(File::text);
    let Some(readme) = readme.filter(|_| !present.is_empty()) else {
        return;
    };
    let listed = presets_listed(readme);
    for name in present.difference(&listed) {
        report.error(format!("README.md: its table of presets lacks `{name}`"));
    }
    for name in listed.difference(&present) {
        report.error(format!(
            "README.md: lists the preset `{name}`, but presets/{name}.toml is missing"
        ));
    }
}

fn presets_listed(readme: &str) -> BTreeSet<&str> {
    let mut in_section = false;
    let mut names = BTreeSet::new();
    for line in readme.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            in_section = heading.to_lowercase().contains("preset");
        } else if in_section && line.starts_with('|') {
            let first = line.split('|').nth(1).unwrap_or_default();
            names.extend(first.split('`').nth(1));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::expect_errors;
    use super::*;

    #[test]
    fn paths_of_one_machine_are_refused() {
        let check = |text: &str, expected: &[&str]| {
            let file = File::with_text("a.md", text);
            expect_errors(|report| check_paths(&file, report), expected);
        };
        let home = MACHINE_PATHS[0];
        check(&format!("x\nsee {home}me/x"), &["a.md:2"]);
        check(&format!("https://example.org{home}x and src{home}"), &[]);
        check(&format!("\"{home}x\""), &["a.md:1"]);
    }

    #[test]
    fn the_readme_lists_the_presets() {
        let check = |table: &str, expected: &[&str]| {
            let readme = format!("# A\n| `no` |\n## Presets\n\n| name | is |\n|---|---|\n{table}");
            let files = [
                File::with_text("README.md", &readme),
                File::with_text("presets/sd15.toml", ""),
            ];
            expect_errors(|report| check_presets(&files, report), expected);
        };
        check("| `sd15` | `x` |\n\n# B\n| `no` |\n", &[]);
        check("", &["lacks `sd15`"]);
        check("| `sd15` | |\n| `gone` | |\n", &["presets/gone.toml"]);
    }

    #[test]
    fn without_presets_there_is_nothing_to_list() {
        let files = [File::with_text("README.md", "# A\n")];
        expect_errors(|report| check_presets(&files, report), &[]);
    }
}
