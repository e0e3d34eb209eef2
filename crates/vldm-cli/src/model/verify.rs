//! `vldm model verify`: does a model compute what the reference computed?

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use vldm::checkpoint::Weights;
use vldm::verify::{Check, verify};

use crate::compute::{ComputeArgs, WeightsArgs};
use crate::progress::Bar;
use crate::terminal::say;

/// Which model, and what it should compute.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A model's folder or .safetensors file.
    pub(crate) model: PathBuf,

    /// Tensors named CASE/COMPONENT/in/ARGUMENT and CASE/COMPONENT/out/RESULT, in safetensors.
    pub(crate) reference: PathBuf,

    /// The largest error to pass, relative to the standard deviation of the reference.
    #[arg(long, value_name = "NUMBER", default_value_t = 1e-3)]
    pub(crate) tolerance: f64,

    #[command(flatten)]
    pub(crate) weights: WeightsArgs,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// Runs the command: one line per output; an error unless all pass.
pub(crate) fn run(args: &VerifyArgs, verbose: bool) -> anyhow::Result<()> {
    let description = args.weights.describe(&args.model)?;
    let reference = Weights::open(&args.reference)?;
    let device = args.compute.open()?;
    let dtype = args.compute.exact_dtype();
    let model = args.weights.load(description, (device, dtype), verbose)?;
    let bar = Bar::spinner("verifying".into());
    let checks = verify(&model, &reference, args.tolerance)?;
    drop(bar);
    say(table(&checks))?;
    match checks.iter().filter(|check| !check.passed).count() {
        0 => Ok(()),
        failed => bail!(
            "{failed} of {} outputs differ from the reference by more than {:e} of its standard \
             deviation",
            checks.len(),
            args.tolerance
        ),
    }
}

/// Name, largest absolute error, largest relative error, pass or FAIL.
fn table(checks: &[Check]) -> String {
    let width = checks
        .iter()
        .map(|check| check.name.len())
        .max()
        .unwrap_or(0);
    let line = |check: &Check| {
        let verdict = match check.passed {
            true => "pass",
            false => "FAIL",
        };
        format!(
            "{:width$}  absolute {:>8.2e}  relative {:>8.2e}  {verdict}",
            check.name, check.max_absolute, check.max_relative
        )
    };
    checks.iter().map(line).collect::<Vec<_>>().join("\n")
}
