//! What a scan found, as a table and as JSON.

use std::path::PathBuf;

use serde_json::{Value, json};
use vldm::data::{Count, ScanReport};

/// How many kinds a line lists before it says how many more there are.
const LISTED: usize = 6;

pub(super) fn as_json(report: &ScanReport, files: &[PathBuf]) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "clips": report.clips.len(),
        "statistics": report.statistics,
        "quarantine": report.quarantine,
        "captions_without_clips": report.orphans,
        "faults": report.faults,
        "files": files,
    })
}

pub(super) fn as_table(report: &ScanReport, files: &[PathBuf]) -> String {
    let found = &report.statistics;
    let mut rows = vec![
        ("length", length(report)),
        ("sizes", list(&found.sizes)),
        ("frames", list(&found.lengths)),
    ];
    if !found.rates.is_empty() {
        rows.push(("rates", list(&found.rates)));
    }
    for (label, values) in &found.labels {
        let values: Vec<String> = values.iter().map(|(v, n)| format!("{v} ({n})")).collect();
        rows.push(("label", format!("{label}: {}", values.join(", "))));
    }
    rows.push(("captions", captions(report)));
    if found.with_boxes > 0 {
        rows.push(("boxes", format!("{} clips have some", found.with_boxes)));
    }
    if !found.duplicates.is_empty() {
        let first = found.duplicates[0].join(", ");
        let count = found.duplicates.len();
        rows.push((
            "duplicates",
            format!("{count} sets of the same file, {first}"),
        ));
    }
    rows.extend(
        report
            .faults
            .iter()
            .map(|fault| ("to be mended", fault.clone())),
    );
    rows.extend(
        files
            .iter()
            .map(|file| ("written", file.display().to_string())),
    );
    let lines = rows
        .iter()
        .map(|(name, text)| format!("  {name:<14}{text}"));
    let lines: Vec<String> = std::iter::once(title(report)).chain(lines).collect();
    lines.join("\n")
}

fn title(report: &ScanReport) -> String {
    let (good, bad) = (report.statistics.clips, report.quarantine.len());
    match bad {
        0 => format!("{good} clips, all of which can be used"),
        _ => format!(
            "{} clips, of which {good} can be used and {bad} are quarantined",
            report.clips.len()
        ),
    }
}

fn length(report: &ScanReport) -> String {
    let found = &report.statistics;
    let seconds = found.seconds.round() as u64;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let clips = found.clips - found.pictures;
    format!(
        "{hours}:{minutes:02}:{:02} in {clips} clips; {} pictures",
        seconds % 60,
        found.pictures
    )
}

fn captions(report: &ScanReport) -> String {
    let found = &report.statistics;
    let missing = match found.without_caption {
        0 => "every clip has one".to_owned(),
        count => format!(
            "{count} clips have none ({:.0} %)",
            100.0 * found.share_without_caption()
        ),
    };
    match report.orphans.len() {
        0 => missing,
        orphans => format!("{missing}; {orphans} belong to no clip"),
    }
}

/// "512×256 (40), 640×360 (3)"
fn list(counts: &[Count]) -> String {
    let listed = counts.iter().take(LISTED);
    let mut listed: Vec<String> = listed.map(|c| format!("{} ({})", c.of, c.clips)).collect();
    if counts.len() > LISTED {
        listed.push(format!("{} more", counts.len() - LISTED));
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let counts: Vec<Count> = (0..9)
            .map(|n| Count {
                of: format!("{n}×{n}"),
                clips: 9 - n,
            })
            .collect();
        assert_eq!(list(&counts[..2]), "0×0 (9), 1×1 (8)");
        assert!(list(&counts).ends_with("5×5 (4), 3 more"));
    }
}
