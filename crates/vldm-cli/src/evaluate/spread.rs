//! `vldm evaluate spread`: how different rollouts become.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use vldm::metrics::spread;
use vldm_media::Frame;

use super::clips::whole;
use super::report::{show, table};

/// Rollouts of one beginning.
#[derive(Debug, Args)]
pub(crate) struct SpreadArgs {
    /// Two clips or more, of equal length and size.
    #[arg(required = true, num_args = 2..)]
    pub(crate) clips: Vec<PathBuf>,

    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &SpreadArgs) -> anyhow::Result<()> {
    let clips = args.clips.iter().map(|path| whole(path));
    let clips: Vec<Vec<Frame>> = clips.collect::<vldm::Result<_>>()?;
    let views: Vec<&[Frame]> = clips.iter().map(Vec::as_slice).collect();
    let found = spread(&views)?;
    let rows: Vec<Vec<String>> = found
        .iter()
        .enumerate()
        .map(|(frame, value)| vec![frame.to_string(), format!("{value:.5}")])
        .collect();
    let head = ["frame", "mean distance between clips (share of the range)"];
    let value = json!({ "metric": "spread", "clips": args.clips, "spread": found });
    show(args.json, &table(&head, &rows), value, &[])
}
