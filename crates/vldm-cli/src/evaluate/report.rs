//! Tables and JSON of measurements.

use serde_json::{Value, json};
use vldm::metrics::{Estimate, NOT_PUBLISHED, Provenance};

use crate::terminal::say;

/// Rows of words under a header, in columns as wide as they need.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let own: Vec<String> = header.iter().map(ToString::to_string).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&own).chain(rows).collect();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let line = |row: &&Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            match column {
                0 => format!("{cell:width$}"),
                _ => format!("{cell:>width$}"),
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// "0.712 (0.655 to 0.769)"
pub(crate) fn with_interval(estimate: &Estimate) -> String {
    let Estimate { value, low, high } = estimate;
    format!("{value:.3} ({low:.3} to {high:.3})")
}

/// What stands below every table of numbers from a network.
pub(crate) fn footnote(networks: &[&Provenance]) -> String {
    let files = networks.iter().map(|of| {
        let name = of.path.file_stem().unwrap_or_default().to_string_lossy();
        format!("{name} {}", of.fingerprint)
    });
    let files: Vec<String> = files.collect();
    format!("{NOT_PUBLISHED} ({})", files.join(", "))
}

/// Prints a table with its footnote, or JSON in which the footnote stands too.
pub(crate) fn show(
    json: bool,
    text: &str,
    mut value: Value,
    networks: &[&Provenance],
) -> anyhow::Result<()> {
    if !json {
        return match networks {
            [] => say(text),
            _ => say(format!("{text}\n\n{}", footnote(networks))),
        };
    }
    if let Value::Object(entries) = &mut value {
        entries.insert("version".into(), json!(env!("CARGO_PKG_VERSION")));
        if !networks.is_empty() {
            entries.insert("note".into(), json!(NOT_PUBLISHED));
            entries.insert("networks".into(), json!(networks));
        }
    }
    say(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows = [["a", "1"], ["long name", "10.5"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let expected = "set        value\na              1\nlong name   10.5";
        assert_eq!(table(&["set", "value"], &rows), expected);
    }
}
