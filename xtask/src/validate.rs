//! `cargo xtask validate`: everything a change must pass, cheapest first, stopping at the first
//! step that fails.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::repository;
use crate::tidy;

/// One thing that must hold.
struct Step {
    name: &'static str,
    /// Arguments to cargo; none for a step of this program.
    cargo: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        cargo: &["fmt", "--all", "--check"],
        environment: &[],
    },
    Step {
        name: "tidy",
        cargo: &[],
        environment: &[],
    },
    Step {
        name: "clippy",
        cargo: &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
        environment: &[],
    },
    Step {
        name: "docs",
        cargo: &["doc", "--workspace", "--no-deps", "--locked"],
        environment: &[("RUSTDOCFLAGS", "-D warnings")],
    },
    Step {
        name: "tests",
        cargo: &["test", "--workspace", "--locked"],
        environment: &[],
    },
];

/// Runs all steps.
pub(crate) fn run() -> Result<()> {
    let begin = Instant::now();
    for (i, step) in STEPS.iter().enumerate() {
        println!(
            "\n== {}/{} {}: {}",
            i + 1,
            STEPS.len(),
            step.name,
            shown(step)
        );
        let step_begin = Instant::now();
        let result = if step.cargo.is_empty() {
            tidy::run()
        } else {
            cargo(step)
        };
        let seconds = step_begin.elapsed().as_secs_f64();
        if let Err(error) = result {
            bail!(
                "validate stopped at step `{}` after {seconds:.1} s: {error:#}; to see it alone: {}",
                step.name,
                shown(step)
            );
        }
        println!("== {} passed in {seconds:.1} s", step.name);
    }
    println!(
        "\n== test tiers that ran: {}",
        tiers(|name| std::env::var_os(name).is_some())
    );
    println!(
        "== all {} steps passed in {:.1} s",
        STEPS.len(),
        begin.elapsed().as_secs_f64()
    );
    Ok(())
}

fn cargo(step: &Step) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(step.cargo)
        .envs(step.environment.iter().copied())
        .current_dir(repository::root())
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo {} failed ({status})", step.cargo[0]);
    }
    Ok(())
}

/// The step as one would type it.
fn shown(step: &Step) -> String {
    if step.cargo.is_empty() {
        return format!("cargo xtask {}", step.name);
    }
    let environment = step
        .environment
        .iter()
        .map(|(name, value)| format!("{name}='{value}' "));
    format!(
        "{}cargo {}",
        environment.collect::<String>(),
        step.cargo.join(" ")
    )
}

/// Which tests the environment asked for.
fn tiers(is_set: impl Fn(&str) -> bool) -> String {
    let mut tiers = String::from("0 and 1");
    for (name, tier) in [("VLDM_SLOW", "2"), ("VLDM_WEIGHTS", "3")] {
        if is_set(name) {
            tiers += &format!(", {tier}");
        } else {
            tiers += &format!(" (not {tier}: {name} is not set)");
        }
    }
    tiers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_shown_as_typed() {
        let shown: Vec<String> = STEPS.iter().map(shown).collect();
        assert_eq!(shown[0], "cargo fmt --all --check");
        assert_eq!(shown[1], "cargo xtask tidy");
        assert_eq!(
            shown[3],
            "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked"
        );
    }

    #[test]
    fn tiers_follow_the_environment() {
        assert_eq!(tiers(|_| true), "0 and 1, 2, 3");
        assert!(tiers(|_| false).contains("VLDM_SLOW is not set"));
    }
}
