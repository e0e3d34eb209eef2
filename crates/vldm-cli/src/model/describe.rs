//! What a model on disk is made of, as a table and as JSON.

use serde_json::{Value, json};
use vldm::model::ModelDescription;

/// Every part's size and configuration.
pub(super) fn as_json(model: &ModelDescription) -> Value {
    let counts = model.parameter_counts();
    let parts: Vec<Value> = counts
        .iter()
        .map(|(name, count)| json!({ "part": name, "parameters": count }))
        .collect();
    json!({
        "path": model.path,
        "kind": model.kind,
        "parts": parts,
        "parameters": counts.iter().map(|(_, count)| count).sum::<usize>(),
        "unet": model.unet.as_ref().map(|part| &part.config),
        "temporal": model.unet.as_ref().and_then(|part| part.temporal.as_ref()),
        "autoencoder": model.autoencoder.as_ref().map(|part| &part.config),
        "noise": model.noise.as_ref().map(|noise| json!({
            "schedule": noise.schedule,
            "prediction": noise.parameterization,
            "sampler": noise.sampler,
        })),
    })
}

/// Every part's size, and the sizes that decide what the model can make.
pub(super) fn as_table(model: &ModelDescription) -> String {
    let mut lines = vec![format!("{}: {}", model.path.display(), model.kind)];
    let counts = model.parameter_counts();
    let total = counts.iter().map(|(_, count)| count).sum();
    let rows = counts.into_iter().chain([("total", total)]);
    lines.extend(rows.map(|(part, count)| format!("  {part:<26}{:>16}", grouped(count))));
    lines.extend(sizes(model));
    lines.join("\n")
}

/// The sizes that decide what a model can make.
fn sizes(model: &ModelDescription) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(unet) = &model.unet {
        let channels: Vec<String> = unet
            .config
            .levels
            .iter()
            .map(|l| l.channels.to_string())
            .collect();
        let (inputs, outputs) = (unet.config.in_channels, unet.config.out_channels);
        let channels = channels.join(", ");
        lines.push(format!(
            "  U-Net: {inputs} channels in, {outputs} out, levels of {channels}"
        ));
        if let Some([height, width]) = unet.sample_size {
            lines.push(format!("  trained on latents of {width} x {height}"));
        }
        if let Some(frames) = unet.num_frames {
            lines.push(format!("  trained on clips of {frames} frames"));
        }
    }
    if let Some(part) = &model.autoencoder {
        lines.push(format!(
            "  latents: {} channels, one per {} x {} pixels, scaled by {}",
            part.config.latent_channels,
            part.config.factor(),
            part.config.factor(),
            part.config.scale_factor
        ));
    }
    if let Some(noise) = &model.noise {
        let sampler = noise.sampler.name();
        lines.push(format!(
            "  predicts {:?}; usual sampler {sampler}",
            noise.parameterization
        ));
    }
    lines
}

/// 1234567 → "1,234,567"
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        let check = |number, expected: &str| assert_eq!(grouped(number), expected);
        check(0, "0");
        check(999, "999");
        check(859_520_964, "859,520,964");
    }
}
