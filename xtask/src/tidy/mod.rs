//! `cargo xtask tidy`: the rules of the house that no compiler checks.

mod documentation;
mod manifest;
mod rust_source;
mod sizes;

use anyhow::{Result, bail};

use crate::repository::{self, File};

/// What the rules have to say.
#[derive(Debug, Default)]
pub(crate) struct Report {
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Report {
    /// Something that must change before it can be merged.
    pub(crate) fn error(&mut self, message: String) {
        self.errors.push(message);
    }

    /// Something that should change soon.
    pub(crate) fn warning(&mut self, message: String) {
        self.warnings.push(message);
    }
}

/// Checks all files of the repository.
pub(crate) fn run() -> Result<()> {
    let files = repository::files()?;
    let mut report = Report::default();
    check(&files, &mut report);
    for warning in &report.warnings {
        println!("warning: {warning}");
    }
    for error in &report.errors {
        println!("error: {error}");
    }
    for line in sizes::lines_per_crate(&files) {
        println!("{line}");
    }
    match report.errors.len() {
        0 => Ok(()),
        1 => bail!("tidy found 1 error"),
        n => bail!("tidy found {n} errors"),
    }
}

fn check(files: &[File], report: &mut Report) {
    sizes::check(files, report);
    for file in files {
        rust_source::check(file, report);
        manifest::check_paths(file, report);
    }
    documentation::check_links(files, report);
    manifest::check_presets(files, report);
}

/// Runs one rule over files that exist only for a test, and compares the errors' beginnings.
#[cfg(test)]
fn expect_errors(run: impl Fn(&mut Report), expected: &[&str]) {
    let mut report = Report::default();
    run(&mut report);
    assert_eq!(report.errors.len(), expected.len(), "{:?}", report.errors);
    for (error, expected) in report.errors.iter().zip(expected) {
        assert!(
            error.contains(expected),
            "{error:?} does not say {expected:?}"
        );
    }
}
