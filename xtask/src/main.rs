//! Tasks of this repository, run as `cargo xtask TASK`.
//!
//! - `validate`: everything a change must pass, cheapest first ([`validate`])
//! - `tidy`: the rules of the house that no compiler checks ([`tidy`])
//! - `fixtures [CASE]`: writes the reference numbers of the tests anew ([`fixtures`])
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a tool: what it has to say, it prints"
)]

mod fixtures;
mod repository;
mod tidy;
mod validate;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask TASK

  validate         everything a change must pass: fmt, tidy, clippy, docs, tests
  tidy             the rules that no compiler checks
  fixtures [CASE]  writes test fixtures anew with their exporters (needs Python and a network)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["validate"] => validate::run(),
        ["tidy"] => tidy::run(),
        ["fixtures"] => fixtures::run(None),
        ["fixtures", case] => fixtures::run(Some(case)),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        [] => bail!("which task?\n{USAGE}"),
        [task, ..] => bail!("there is no task `{task}`, or not with these arguments\n{USAGE}"),
    }
}
