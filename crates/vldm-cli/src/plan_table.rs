//! Plans as tables, for `--dry-run`.

use std::fmt::Write;

use vldm::pipeline::StageMemory;
use vldm::preset::Stage;

use crate::bytes::Bytes;

/// A name and what is said of it.
pub(crate) type Row = (&'static str, String);

/// A line per row.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = String::new();
    for (name, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "{name:<18}  {value}");
    }
    table.trim_end().to_owned()
}

/// What the stages of a stack compute and need.
pub(crate) fn costs(network_frames: &[(Stage, usize)], memory: &[StageMemory]) -> Vec<Row> {
    let calls = network_frames.iter().map(|(stage, frames)| {
        let text = format!("{}: {frames} frames", stage.title());
        ("network calls", text)
    });
    let needs = memory.iter().map(|need| {
        let (weights, activations) = (Bytes(need.weights), Bytes(need.activations));
        let text = format!(
            "{}: weights {weights}, beside them {activations}",
            need.stage.title()
        );
        ("memory", text)
    });
    let peak = format!("about {}", Bytes(StageMemory::peak(memory)));
    calls.chain(needs).chain([("peak memory", peak)]).collect()
}
