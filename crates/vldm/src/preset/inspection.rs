//! How many parameters a model has, part by part, beside what the paper prints.

use std::fmt;

use burn::tensor::Device;

use super::{Part, Preset};
use crate::autoencoder::{Autoencoder, TemporalDecoderLayers};
use crate::checkpoint::count_parameters;
use crate::conditioning::boxes::BoxEncoder;
use crate::conditioning::frame_rate::FrameRateEncoder;
use crate::conditioning::labels::LabelEncoder;
use crate::error::{Error, Result};
use crate::nn::Init;
use crate::text::{ClipTextEncoder, ClipVisionEncoder};
use crate::unet::{TemporalLayers, UNet};

/// The size of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSize {
    /// What it is called, with the stage it belongs to in a stack.
    pub part: String,
    /// Number of parameters.
    pub parameters: usize,
    /// How many of them are learned from video.
    pub trained_on_video: usize,
    /// Whether the sums count it.
    pub counted: bool,
    /// The number as printed elsewhere, and what is to be said about it.
    pub note: String,
}

impl PartSize {
    /// A part that nothing is known of but its size: of a loaded model, for example.
    #[must_use]
    pub fn new(part: impl Into<String>, parameters: usize) -> Self {
        Self {
            part: part.into(),
            parameters,
            trained_on_video: 0,
            counted: true,
            note: String::new(),
        }
    }
}

/// The sizes of a model's parts: plain data, shown as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The model.
    pub title: String,
    /// Its parts, in order.
    pub parts: Vec<PartSize>,
    /// What is printed elsewhere about the sum of all counted parts.
    pub total_note: String,
    /// Anything else, a line each.
    pub remarks: Vec<String>,
}

impl Inspection {
    /// Sizes found elsewhere: of a loaded model's folder, for example.
    #[must_use]
    pub fn new(title: impl Into<String>, parts: Vec<PartSize>) -> Self {
        Self {
            title: title.into(),
            parts,
            total_note: String::new(),
            remarks: Vec::new(),
        }
    }

    /// Parameters of all counted parts.
    #[must_use]
    pub fn total(&self) -> usize {
        self.counted().map(|part| part.parameters).sum()
    }

    /// Parameters of all counted parts that are learned from video.
    #[must_use]
    pub fn trained_on_video(&self) -> usize {
        self.counted().map(|part| part.trained_on_video).sum()
    }

    fn counted(&self) -> impl Iterator<Item = &PartSize> {
        self.parts.iter().filter(|part| part.counted)
    }
}

/// Counts every part of a preset; of a stack, every part of every stage. Nothing is allocated.
///
/// # Errors
/// [`Error::Config`] when a stack names a preset or a part that does not exist.
pub fn inspect(preset: &Preset) -> Result<Inspection> {
    let title = format!("{}: {}", preset.name, preset.summary);
    if !preset.is_stack() {
        let parts = preset.parts();
        let sizes = parts.iter().map(|part| preset.part_size(*part)).collect();
        let mut inspection = Inspection::new(title, sizes);
        inspection.remarks = preset.remarks();
        return Ok(inspection);
    }
    let mut sizes = Vec::new();
    for stage in &preset.stages {
        let model = Preset::load(&stage.preset)?;
        for part in &stage.parts {
            if !model.has(*part) {
                return Err(Error::Config(format!(
                    "preset {}: stage \"{}\" wants the {} of {}, which has none",
                    preset.name,
                    stage.stage.title(),
                    part.title(),
                    stage.preset
                )));
            }
            let size = model.part_size(*part);
            sizes.push(PartSize {
                part: format!("{}: {}", stage.stage.title(), size.part),
                counted: size.counted && stage.counted,
                ..size
            });
        }
    }
    let mut inspection = Inspection::new(title, sizes);
    if let Some(total) = &preset.total {
        let parts = [
            total.paper.as_ref().map(|text| format!("paper: {text}")),
            total
                .paper_trained
                .as_ref()
                .map(|text| format!("{text} trained on video")),
        ];
        inspection.total_note = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    }
    Ok(inspection)
}

impl Preset {
    /// Number of parameters of one part; 0 if the preset does not have it.
    #[must_use]
    pub fn count(&self, part: Part) -> usize {
        let init = Init::new(&Device::flex(), 0);
        let count = match part {
            Part::Autoencoder => self
                .autoencoder
                .as_ref()
                .map(|config| count_parameters(&Autoencoder::new(config, &init))),
            Part::Decoder => self.autoencoder.as_ref().map(|config| {
                let model = Autoencoder::new(config, &init);
                count_parameters(&model.decoder)
                    + model.post_quant_conv.as_ref().map_or(0, count_parameters)
            }),
            Part::Unet => self
                .unet
                .as_ref()
                .map(|config| count_parameters(&UNet::new(config, &init))),
            Part::Temporal => self
                .unet
                .as_ref()
                .zip(self.temporal.as_ref())
                .map(|(unet, config)| count_parameters(&TemporalLayers::new(unet, config, &init))),
            Part::VideoUnet => Some(self.count(Part::Unet) + self.count(Part::Temporal)),
            Part::TemporalDecoder => {
                self.autoencoder
                    .as_ref()
                    .zip(self.temporal_decoder)
                    .map(|(autoencoder, config)| {
                        count_parameters(&TemporalDecoderLayers::new(autoencoder, config, &init))
                    })
            }
            _ => self.count_encoder(part, &init),
        };
        count.unwrap_or(0)
    }

    /// The encoders of conditions.
    fn count_encoder(&self, part: Part, init: &Init) -> Option<usize> {
        match part {
            Part::Labels => self
                .labels
                .as_ref()
                .map(|config| count_parameters(&LabelEncoder::new(config, init))),
            Part::Boxes => self
                .boxes
                .as_ref()
                .map(|config| count_parameters(&BoxEncoder::new(config, init))),
            Part::FrameRate => self
                .frame_rate
                .map(|config| count_parameters(&FrameRateEncoder::new(&config, init))),
            Part::TextEncoder => self
                .text_encoder
                .as_ref()
                .map(|config| count_parameters(&ClipTextEncoder::new(config, init))),
            Part::ImageEncoder => self
                .image_encoder
                .as_ref()
                .map(|config| count_parameters(&ClipVisionEncoder::new(config, init))),
            _ => None,
        }
    }

    /// Number of parameters of one part that are learned from video.
    #[must_use]
    pub fn count_trained_on_video(&self, part: Part) -> usize {
        let trained = |part| match self.trained_on_video.contains(&part) {
            true => self.count(part),
            false => 0,
        };
        match part {
            Part::Autoencoder => trained(part).max(trained(Part::Decoder)),
            _ => trained(part),
        }
    }

    fn part_size(&self, part: Part) -> PartSize {
        PartSize {
            part: part.title().into(),
            parameters: self.count(part),
            trained_on_video: self.count_trained_on_video(part),
            counted: part.in_total(),
            note: self.note(part),
        }
    }

    /// "paper: 649 M", "derived", …
    fn note(&self, part: Part) -> String {
        let Some(size) = self.sizes.get(&part) else {
            return String::new();
        };
        let printed = match (&size.paper, size.evidence) {
            (Some(text), super::Evidence::Stated) => format!("paper: {text}"),
            (Some(text), evidence) => format!("{}: {text}", evidence.title()),
            (None, evidence) => evidence.title().to_owned(),
        };
        match &size.note {
            Some(note) => format!("{printed}; {note}"),
            None => printed,
        }
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.sizes.contains_key(&Part::VideoUnet) {
            let count = grouped(self.count(Part::VideoUnet));
            let note = self.note(Part::VideoUnet);
            remarks.push(format!("{}: {count} ({note})", Part::VideoUnet.title()));
        }
        remarks.push(match &self.weights {
            Some(weights) => format!("weights: {}; licence: {}", weights.source, weights.license),
            None => "weights: none are public".into(),
        });
        remarks
    }
}

impl fmt::Display for Inspection {
    /// A table: part, parameters, parameters learned from video, what the paper prints. Parts that
    /// the sums leave out stand in brackets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["part", "parameters", "on video", ""].map(String::from);
        let mut rows = vec![header];
        rows.extend(self.parts.iter().map(|part| {
            let name = match part.counted {
                true => part.part.clone(),
                false => format!("({})", part.part),
            };
            let video = match part.trained_on_video {
                0 => "-".into(),
                count => grouped(count),
            };
            [name, grouped(part.parameters), video, part.note.clone()]
        }));
        rows.push([
            "total".into(),
            grouped(self.total()),
            grouped(self.trained_on_video()),
            self.total_note.clone(),
        ]);
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let [name, count, video] = [width(0), width(1), width(2)];
        writeln!(formatter, "{}", self.title)?;
        for row in &rows {
            let line = format!(
                "  {:name$}  {:>count$}  {:>video$}  {}",
                row[0], row[1], row[2], row[3]
            );
            writeln!(formatter, "{}", line.trim_end())?;
        }
        self.remarks
            .iter()
            .try_for_each(|remark| writeln!(formatter, "  {remark}"))
    }
}

/// 1234567 → "1,234,567"
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut groups = Vec::new();
    if first > 0 {
        groups.push(&digits[..first]);
    }
    let mut rest = &digits[first..];
    while !rest.is_empty() {
        groups.push(&rest[..3]);
        rest = &rest[3..];
    }
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let check = |number, expected: &str| assert_eq!(grouped(number), expected);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(859_520_964, "859,520,964");
    }

    #[test]
    fn columns_are_aligned_and_sums_leave_brackets_out() {
        let part = |part: &str, parameters, trained_on_video, counted| PartSize {
            trained_on_video,
            counted,
            ..PartSize::new(part, parameters)
        };
        let parts = vec![
            part("U-Net", 1000, 0, true),
            part("temporal layers", 20, 20, true),
            part("text encoder", 5, 0, false),
        ];
        let inspection = Inspection::new("model", parts);
        assert_eq!(inspection.total(), 1020);
        assert_eq!(inspection.trained_on_video(), 20);
        let expected = "model
  part             parameters  on video
  U-Net                 1,000         -
  temporal layers          20        20
  (text encoder)            5         -
  total                 1,020        20
";
        assert_eq!(inspection.to_string(), expected);
    }
}
