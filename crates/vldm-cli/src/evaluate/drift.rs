//! `vldm evaluate drift`: colour and sharpness of a clip, segment by segment.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use vldm::metrics::{drift, segments};

use super::clips::whole;
use super::report::{show, table};

/// A long clip.
#[derive(Debug, Args)]
pub(crate) struct DriftArgs {
    /// The clip: a file, or a folder of numbered pictures.
    pub(crate) clip: PathBuf,

    /// How many segments of equal length.
    #[arg(long, value_name = "N", default_value = "8")]
    pub(crate) segments: NonZeroUsize,

    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &DriftArgs) -> anyhow::Result<()> {
    let found = segments(&whole(&args.clip)?, args.segments.get())?;
    let drift = drift(&found);
    let rows: Vec<Vec<String>> = found
        .iter()
        .zip(&drift)
        .map(|(segment, drift)| {
            let list = |of: &[f64; 3]| of.map(|value| format!("{value:.1}")).join(" ");
            vec![
                format!(
                    "{} to {}",
                    segment.first,
                    segment.first + segment.frames - 1
                ),
                list(&segment.mean),
                list(&segment.variance.map(f64::sqrt)),
                format!("{:.1}", segment.sharpness),
                format!("{:+.1}", drift.mean),
                format!("{:.2}", drift.variance),
                format!("{:.2}", drift.sharpness),
            ]
        })
        .collect();
    let head = [
        "frames",
        "mean r g b",
        "deviation r g b",
        "sharpness",
        "mean moved",
        "variance kept",
        "sharpness kept",
    ];
    let value = json!({
        "metric": "drift",
        "clip": args.clip,
        "segments": found,
        "drift": drift,
    });
    show(args.json, &table(&head, &rows), value, &[])
}
