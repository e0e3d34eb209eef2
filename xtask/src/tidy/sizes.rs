//! How long files may be, and how heavy the repository.

use std::collections::BTreeMap;

use super::Report;
use crate::repository::File;

/// Lines without tests above which a file is warned about.
const WARN_LINES: usize = 400;
/// Lines without tests above which a file is refused.
const MAX_LINES: usize = 600;
/// Bytes a single file may have.
const MAX_FILE: usize = 1 << 20;
/// Bytes a file of trained weights in `assets` may have.
const MAX_WEIGHTS: usize = 4 << 20;
/// Bytes all files together may have.
const MAX_TOTAL: usize = 40_000_000;

/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Checks the length of source files and the size of all files.
pub(super) fn check(files: &[File], report: &mut Report) {
    check_lengths(files, LONG_FILES, report);
    for file in files {
        let is_weights = file.path.starts_with("assets/") && file.path.ends_with(".safetensors");
        let most = if is_weights { MAX_WEIGHTS } else { MAX_FILE };
        if file.bytes.len() > most {
            report.error(format!(
                "{}: {} bytes; expected at most {most}",
                file.path,
                file.bytes.len()
            ));
        }
    }
    let total: usize = files.iter().map(|file| file.bytes.len()).sum();
    if total > MAX_TOTAL {
        report.error(format!(
            "all files together have {total} bytes: the limit is {MAX_TOTAL}"
        ));
    }
}

fn check_lengths(files: &[File], exceptions: &[(&str, &str)], report: &mut Report) {
    let exception = |path: &str| exceptions.iter().any(|(excepted, _)| *excepted == path);
    for (path, text) in sources(files).filter(|(path, _)| !is_test(path)) {
        let lines = lines_without_tests(text);
        if exception(path) {
            if lines <= MAX_LINES {
                report.error(format!(
                    "{path}: is short enough, take it off the exceptions"
                ));
            }
        } else if lines > MAX_LINES {
            report.error(format!(
                "{path}: {lines} lines without tests, at most {MAX_LINES}: split it by subject"
            ));
        } else if lines > WARN_LINES {
            report.warning(format!(
                "{path}: {lines} lines without tests, over {WARN_LINES}"
            ));
        }
    }
    for (path, _) in exceptions {
        if !files.iter().any(|file| file.path == *path) {
            report.error(format!(
                "{path}: is listed as a long file and does not exist"
            ));
        }
    }
}

/// One line of text for each crate: lines of code and of tests.
pub(super) fn lines_per_crate(files: &[File]) -> Vec<String> {
    let mut crates: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for (path, text) in sources(files) {
        let name = path
            .strip_prefix("crates/")
            .unwrap_or(path)
            .split('/')
            .next();
        let [code, tests] = crates.entry(name.unwrap_or(path)).or_default();
        let own = if is_test(path) {
            0
        } else {
            lines_without_tests(text)
        };
        *code += own;
        *tests += text.lines().count() - own;
    }
    crates
        .iter()
        .map(|(name, [code, tests])| format!("{name:>14}: {code:>6} lines, {tests:>6} of tests"))
        .collect()
}

fn sources(files: &[File]) -> impl Iterator<Item = (&str, &str)> {
    let rust = files.iter().filter(|file| file.is_rust());
    rust.filter_map(|file| Some((file.path.as_str(), file.text()?)))
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Lines of a source file outside its `#[cfg(test)] mod tests { … }`.
fn lines_without_tests(text: &str) -> usize {
    let (mut count, mut in_tests) = (0, false);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let opens = line == "#[cfg(test)]"
            && lines
                .peek()
                .is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        in_tests |= opens;
        if !in_tests {
            count += 1;
        }
        // The module's own brace is the only one that closes without indentation.
        in_tests &= line != "}";
    }
    count
}

#[cfg(test)]
mod tests {
    use super::super::expect_errors;
    use super::*;

    const WITH_TESTS: &str = "a\n#[cfg(test)]\nmod tests {\n    fn b() {\n    }\n}\nc\n";

    #[test]
    fn the_test_module_does_not_count() {
        assert_eq!(lines_without_tests(WITH_TESTS), 2);
        assert_eq!(lines_without_tests("#[cfg(test)]\nmod tests;\nuse a;\n"), 3);
    }

    #[test]
    fn long_files_are_refused_unless_listed() {
        let long = File::with_text("crates/a/src/long.rs", &"x\n".repeat(601));
        let check = |exceptions: &'static [(&str, &str)]| {
            let files = [long.clone()];
            move |report: &mut Report| check_lengths(&files, exceptions, report)
        };
        expect_errors(check(&[]), &["601 lines"]);
        expect_errors(check(&[("crates/a/src/long.rs", "a table")]), &[]);
        expect_errors(
            check(&[("crates/a/src/gone.rs", "")]),
            &["601 lines", "does not exist"],
        );
    }

    #[test]
    fn an_exception_that_is_not_needed_is_refused() {
        let files = [File::with_text("a.rs", "x\n")];
        expect_errors(
            |report| check_lengths(&files, &[("a.rs", "was long")], report),
            &["short enough"],
        );
    }

    #[test]
    fn heavy_files_are_refused() {
        let files = [File {
            path: "a.bin".into(),
            bytes: vec![0; MAX_FILE + 1],
        }];
        expect_errors(|report| check(&files, report), &["1048577 bytes"]);
        let weights = |bytes: usize| {
            [File {
                path: "assets/a/b.safetensors".into(),
                bytes: vec![0; bytes],
            }]
        };
        expect_errors(|report| check(&weights(MAX_WEIGHTS), report), &[]);
        expect_errors(
            |report| check(&weights(MAX_WEIGHTS + 1), report),
            &["4194305 bytes"],
        );
    }

    #[test]
    fn lines_are_counted_by_crate() {
        let files = [
            File::with_text("crates/a/src/lib.rs", WITH_TESTS),
            File::with_text("crates/a/tests/b.rs", "x\n"),
            File::with_text("crates/a/src/b/tests.rs", "x\n"),
            File::with_text("xtask/src/main.rs", "x\n"),
        ];
        let lines = lines_per_crate(&files);
        assert!(
            lines[0].contains("a:      2 lines,      7 of tests"),
            "{lines:?}"
        );
        assert!(lines[1].contains("xtask:      1 lines"), "{lines:?}");
    }
}
