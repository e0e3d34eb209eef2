//! The drift report of a rollout: a line for people, and a file with every segment.

use std::path::Path;

use serde_json::json;
use vldm::checkpoint::{CheckpointError, write_atomically};
use vldm::metrics::{Segment, drift};

use super::run::beside;
use crate::terminal::complain;

/// Length of a segment.
pub(super) const SECONDS: f64 = 10.0;

/// Writes `NAME.drift.json` beside the clip and says how the last segment differs from the first,
/// where there are two.
pub(super) fn write(clip: &Path, segments: &[Segment]) -> anyhow::Result<()> {
    let drift = drift(segments);
    let [_, .., last] = drift.as_slice() else {
        return Ok(());
    };
    let path = &beside(clip, ".drift.json");
    let text = serde_json::to_string_pretty(&json!({"segments": segments, "drift": drift}))?;
    write_atomically(path, |out| {
        std::io::Write::write_all(out, text.as_bytes())
            .map_err(|error| CheckpointError::write(path, error))
    })?;
    complain(
        "drift",
        format!(
            "the last of {} segments has {:.2} of the first one's variance and {:.2} of its sharpness; its \
             colours moved by up to {:.1} of 255",
            segments.len(),
            last.variance,
            last.sharpness,
            last.mean
        ),
    );
    Ok(())
}
