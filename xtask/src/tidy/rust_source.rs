//! Rules for one Rust file: what its documentation says, and where `unsafe` may stand.

use super::Report;
use crate::repository::File;

/// Folders whose every file names the paper or program it follows.
const SOURCED: &[&str] = &[
    "crates/vldm/src/diffusion/",
    "crates/vldm/src/sampler/",
    "crates/vldm/src/nn/temporal/",
];

/// Where `unsafe` may stand: the kernels, and one memory map that is explained there.
const UNSAFE: &[&str] = &[
    "crates/vldm-kernels/",
    "crates/vldm/src/checkpoint/mapped.rs",
];

/// Checks one file, when it is Rust.
pub(super) fn check(file: &File, report: &mut Report) {
    let Some(text) = file.text().filter(|_| file.is_rust()) else {
        return;
    };
    check_opening(&file.path, text, report);
    check_shapes(&file.path, text, report);
    check_source(&file.path, text, report);
    check_unsafe(&file.path, text, report);
}

/// A file says what it is.
fn check_opening(path: &str, text: &str, report: &mut Report) {
    let opening = text
        .lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    if !opening.is_some_and(|line| line.starts_with("//!")) {
        report.error(format!(
            "{path}: does not open with `//!`, saying what it is"
        ));
    }
}

/// A public `forward` says what goes in and what comes out.
fn check_shapes(path: &str, text: &str, report: &mut Report) {
    let mut has_shapes = false;
    for (i, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if let Some(comment) = line.strip_prefix("///") {
            has_shapes |= comment.trim() == "# Shapes";
            continue;
        }
        if line.starts_with("#[") {
            continue;
        }
        if is_forward(line) && !has_shapes {
            report.error(format!(
                "{path}:{}: a public `forward` without `# Shapes`",
                i + 1
            ));
        }
        has_shapes = false;
    }
}

/// `pub fn forward…`, whatever follows the word.
fn is_forward(line: &str) -> bool {
    line.strip_prefix("pub fn forward")
        .is_some_and(|rest| rest.starts_with(['(', '<', '_']))
}

/// A formula has an address. A module file that only lists its parts has none.
fn check_source(path: &str, text: &str, report: &mut Report) {
    let sourced = SOURCED.iter().any(|folder| path.starts_with(folder));
    let only_lists = path.ends_with("/mod.rs") && !text.contains("fn ");
    if sourced && !only_lists && !text.contains("# Source") {
        report.error(format!(
            "{path}: names no `# Source` (paper and section, or program)"
        ));
    }
}

fn check_unsafe(path: &str, text: &str, report: &mut Report) {
    if UNSAFE.iter().any(|allowed| path.starts_with(allowed)) {
        return;
    }
    for (i, line) in text.lines().enumerate() {
        let code = code_of(line);
        let mut words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        if words.any(|word| word == "unsafe") {
            report.error(format!("{path}:{}: `unsafe` outside vldm-kernels", i + 1));
        }
    }
}

/// A line without its comment and without what stands in string literals.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let mut chars = line.chars().peekable();
    let mut in_string = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_string => {
                chars.next();
            }
            '"' => in_string = !in_string,
            '/' if !in_string && chars.peek() == Some(&'/') => break,
            _ if !in_string => code.push(c),
            _ => {}
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::super::expect_errors;
    use super::*;

    fn check_text(path: &str, text: &str, expected: &[&str]) {
        let file = File::with_text(path, text);
        expect_errors(|report| check(&file, report), expected);
    }

    #[test]
    fn a_file_opens_with_what_it_is() {
        check_text("a.rs", "//! Here.\n", &[]);
        check_text("fuzz/a.rs", "#![no_main]\n//! Here.\n", &[]);
        check_text("a.rs", "use b;\n//! Late.\n", &["a.rs: does not open"]);
        check_text("a.rs", "", &["a.rs: does not open"]);
        check_text("a.py", "import b\n", &[]);
    }

    #[test]
    fn a_public_forward_documents_its_shapes() {
        let good =
            "//! A.\n/// B.\n///\n/// # Shapes\n/// - `x`\n#[must_use]\npub fn forward(x: X) {}\n";
        check_text("a.rs", good, &[]);
        check_text(
            "a.rs",
            "//! A.\n/// B.\npub fn forward(x: X) {}\n",
            &["a.rs:3"],
        );
        check_text(
            "a.rs",
            "//! A.\npub fn forward_on<const D: usize>(x: X) {}\n",
            &["a.rs:2"],
        );
        check_text(
            "a.rs",
            "//! A.\npub fn forwarded() {}\npub(crate) fn forward() {}\n",
            &[],
        );
    }

    #[test]
    fn formulas_have_a_source() {
        let path = "crates/vldm/src/sampler/euler.rs";
        check_text(path, "//! A.\n//!\n//! # Source\n//! B.\nfn a() {}\n", &[]);
        check_text(path, "//! A.\nfn a() {}\n", &["# Source"]);
        check_text(
            "crates/vldm/src/sampler/mod.rs",
            "//! A.\nmod euler;\n",
            &[],
        );
    }

    #[test]
    fn unsafe_code_stays_in_the_kernels() {
        let text = concat!("//! A.\nfn a() { un", "safe { b() } }\n");
        check_text("crates/vldm/src/a.rs", text, &["a.rs:2"]);
        check_text("crates/vldm-kernels/src/a.rs", text, &[]);
        check_text("crates/vldm/src/checkpoint/mapped.rs", text, &[]);
        check_text(
            "crates/vldm/src/a.rs",
            "//! A.\nlet a = \"\\\"unsafe\"; // unsafe\n",
            &[],
        );
        check_text(
            "crates/vldm/src/a.rs",
            "#![forbid(unsafe_code)]\n//! A.\n",
            &[],
        );
    }
}
