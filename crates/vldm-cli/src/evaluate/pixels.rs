//! `vldm evaluate pixels`: a clip against the true one.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use vldm::metrics::{frame_difference_error, psnr, ssim};

use super::clips::whole;
use super::report::{show, table};

/// Two clips.
#[derive(Debug, Args)]
pub(crate) struct PixelsArgs {
    /// The true clip.
    pub(crate) truth: PathBuf,

    /// The clip that ought to be the same.
    pub(crate) made: PathBuf,

    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &PixelsArgs) -> anyhow::Result<()> {
    let (truth, made) = (whole(&args.truth)?, whole(&args.made)?);
    let (psnr, ssim) = (psnr(&truth, &made)?, ssim(&truth, &made)?);
    let changes = match truth.len() {
        1 => None,
        _ => Some(frame_difference_error(&truth, &made)?),
    };
    let mut rows = vec![
        vec!["PSNR, decibels".to_owned(), format!("{psnr:.2}")],
        vec!["SSIM".to_owned(), format!("{ssim:.4}")],
    ];
    if let Some(changes) = changes {
        let name = "error of the changes between frames, share of the range";
        rows.push(vec![name.to_owned(), format!("{changes:.5}")]);
    }
    let value = json!({
        "metric": "pixels",
        "truth": args.truth,
        "made": args.made,
        // JSON has no infinity.
        "psnr": psnr.is_finite().then_some(psnr),
        "identical": psnr.is_infinite(),
        "ssim": ssim,
        "frame_difference_error": changes,
    });
    let head = [&*format!("{} frames", truth.len()), ""];
    show(args.json, &table(&head, &rows), value, &[])
}
