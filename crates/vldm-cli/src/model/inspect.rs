//! `vldm model inspect`: what a model is made of, without its weights.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};
use vldm::preset::{Inspection, Preset, inspect};

use super::describe;
use crate::compute::WeightsArgs;
use crate::terminal::say;

/// Which model.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A preset's name or .toml file, or a model's folder or .safetensors file.
    #[arg(value_name = "NAME|PATH")]
    pub(crate) model: String,

    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) weights: WeightsArgs,
}

/// Runs the command.
pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<()> {
    if is_preset(&args.model) {
        let inspection = inspect(&Preset::load(&args.model)?)?;
        return match args.json {
            true => say(format!("{:#}", as_json(&inspection))),
            false => say(inspection.to_string().trim_end()),
        };
    }
    let description = args.weights.describe(Path::new(&args.model))?;
    match args.json {
        true => say(format!("{:#}", describe::as_json(&description))),
        false => say(describe::as_table(&description)),
    }
}

/// A folder or file that is there is a model; what looks like neither is a preset's name.
fn is_preset(model: &str) -> bool {
    let path = Path::new(model);
    match path.extension() {
        Some(ending) if ending == "toml" => true,
        Some(ending) if ending == "safetensors" => false,
        _ => !path.exists() && path.components().count() == 1,
    }
}

fn as_json(inspection: &Inspection) -> Value {
    let part = |part: &vldm::preset::PartSize| {
        json!({
            "part": part.part,
            "parameters": part.parameters,
            "trained_on_video": part.trained_on_video,
            "counted": part.counted,
            "note": part.note,
        })
    };
    json!({
        "title": inspection.title,
        "parts": inspection.parts.iter().map(part).collect::<Vec<_>>(),
        "parameters": inspection.total(),
        "trained_on_video": inspection.trained_on_video(),
        "note": inspection.total_note,
        "remarks": inspection.remarks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_told_apart() {
        let check = |text: &str, expected| assert_eq!(is_preset(text), expected, "{text}");
        check("sd15", true);
        check("no-such-preset", true);
        check("mine.toml", true);
        check("model.safetensors", false);
        check("models/sd15", false);
        check("src", false);
        check(".", false);
    }
}
