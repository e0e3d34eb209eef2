//! The arguments of `vldm generate`, as typed.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use vldm::diffusion::Guidance;
use vldm::preset::Stage;
use vldm::sampler::{SamplerConfig, all_samplers};
use vldm_media::Fps;

use crate::bytes::Bytes;
use crate::clips_name::ClipsName;
use crate::compute::{ComputeArgs, WeightsArgs};

/// What to make, with which model, how, and where to put it.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// What to show (models that read text).
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,

    /// What not to show.
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) negative_prompt: Option<String>,

    /// The picture to start from (models that turn a picture into a clip).
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,

    /// A model's or a stack's folder, a .safetensors file, a training run (its latest checkpoint) or a
    /// preset's name (random weights) [default: assets/default, here or above the program].
    #[arg(long, value_name = "PATH")]
    pub(crate) model: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) weights: WeightsArgs,

    /// A model that learnt a subject from pictures (`vldm train dreambooth`), or its run: it paints the
    /// pictures, the other model moves them. The subject's word stands in parentheses, "a (sks) car":
    /// layers over time do not read it.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["image", "lora"])]
    pub(crate) personal: Option<PathBuf>,

    /// Where to write: .mp4, .gif, .png, .jpg, or a folder for numbered PNG frames [default:
    /// vldm-SEED.mp4, or .png for a single frame]. Several samples become NAME-0, NAME-1, …
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,

    /// Pixels; a multiple of the model's factor.
    #[arg(long, value_name = "PIXELS", help_heading = "Size")]
    pub(crate) width: Option<usize>,

    /// Pixels; a multiple of the model's factor.
    #[arg(long, value_name = "PIXELS", help_heading = "Size")]
    pub(crate) height: Option<usize>,

    /// Number of frames; 1 makes a picture.
    #[arg(long, value_name = "N", help_heading = "Size")]
    pub(crate) frames: Option<usize>,

    /// Frames per second, such as 24, 29.97 or 30000/1001; some models are also told it.
    #[arg(long, value_name = "RATE", help_heading = "Size")]
    pub(crate) fps: Option<Fps>,

    /// Where the way through a stack ends [default: as far as the stack goes]; key frames alone are
    /// also what a single frame is made of.
    #[arg(long, value_name = "STAGE", value_enum)]
    pub(crate) until: Option<Until>,

    /// A label the model reads, such as night=1; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, usize)>,

    /// A scene for a picture: a JSON file with any of prompt, negative_prompt, labels and boxes. The
    /// prompt and the labels that are typed take the place of its own.
    #[arg(long, value_name = "FILE")]
    pub(crate) scene: Option<PathBuf>,

    /// Make each of the `--count` samples like one clip of a set: with its caption, its labels and, of
    /// pictures, its boxes, as far as the model reads them. The set is a folder or .tar file, as
    /// training reads them, or world:SEED. A metadata.jsonl beside the samples says what they are.
    #[arg(long, value_name = "CLIPS", conflicts_with_all = ["prompt", "label", "scene", "image"])]
    pub(crate) like: Option<ClipsName>,

    /// How many samples to make.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Size")]
    pub(crate) count: usize,

    /// Seed of the first sample; the next one has the next seed.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Sampling")]
    pub(crate) seed: u64,

    /// Sampling steps; of a stack those of the key frames, see --stage-steps.
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    pub(crate) steps: Option<usize>,

    /// Sampling steps of a stage of a stack, such as interpolation=10; may be repeated.
    #[arg(long, value_name = "STAGE=N", value_parser = stage_steps, help_heading = "Sampling")]
    pub(crate) stage_steps: Vec<(Stage, usize)>,

    /// The stepping rule [default: the model's].
    #[arg(long, value_name = "NAME", value_parser = sampler(), help_heading = "Sampling")]
    pub(crate) sampler: Option<SamplerConfig>,

    /// Share of fresh noise in each step of ddim, from 0 to 1; chooses ddim.
    #[arg(long, value_name = "SHARE", help_heading = "Sampling")]
    pub(crate) eta: Option<f64>,

    /// How strongly to follow the prompt or picture: a number, or FIRST:LAST to go linearly over
    /// the frames.
    #[arg(long, value_name = "SCALE", value_parser = guidance, help_heading = "Sampling")]
    pub(crate) guidance_scale: Option<Guidance>,

    /// How much motion, 127 is medium (Stable Video Diffusion).
    #[arg(long, value_name = "NUMBER", help_heading = "Sampling")]
    pub(crate) motion_bucket: Option<f64>,

    /// Noise added to the picture, 0.02 is usual (Stable Video Diffusion).
    #[arg(long, value_name = "SHARE", help_heading = "Sampling")]
    pub(crate) noise_augmentation: Option<f64>,

    /// Farthest frame that attention over time looks at [default: all of them; 8 where more frames are
    /// made from words than the model has learnt from, 8 key frames in a stack].
    #[arg(long, value_name = "FRAMES", help_heading = "Sampling")]
    pub(crate) attention_distance: Option<usize>,

    /// Start from given noise: the tensors `latents`, and as they apply `image_noise` and
    /// `step_noise`, of a safetensors file.
    #[arg(long, value_name = "FILE", help_heading = "Sampling")]
    pub(crate) initial_latents: Option<PathBuf>,

    /// Also write the final latents, before they are decoded, and of a single model then `pixels`.
    #[arg(long, value_name = "FILE")]
    pub(crate) save_latents: Option<PathBuf>,

    /// Write no settings into the output, and no .json beside it.
    #[arg(long)]
    pub(crate) disable_metadata: bool,

    /// Show what would be done, with the memory it takes; load and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// With --dry-run: as JSON.
    #[arg(long, requires = "dry_run")]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,

    /// Frames decoded at a time: fewer take less memory.
    #[arg(long, value_name = "FRAMES", help_heading = "Computing")]
    pub(crate) decode_chunk: Option<usize>,

    /// Side of the tiles in which a clip is upsampled, in pixels of the small clip: smaller ones
    /// take less memory [default: whole frames].
    #[arg(long, value_name = "PIXELS", help_heading = "Computing")]
    pub(crate) tile: Option<usize>,

    /// Refuse to start what is expected to take more, such as 16GB; decodes fewer frames at a time,
    /// and upsamples in smaller tiles, to stay below.
    #[arg(long, value_name = "SIZE", help_heading = "Computing")]
    pub(crate) max_memory: Option<Bytes>,
}

/// A stage that a stack may end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    /// Sparse key frames.
    KeyFrames,
    /// All frames, at the size of the key frames.
    Interpolation,
    /// All frames at full size.
    Upsampler,
}

/// `night=1`.
pub(crate) fn label(text: &str) -> Result<(String, usize), String> {
    let wrong = || format!("expected NAME=NUMBER such as night=1, not \"{text}\"");
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    Ok((
        name.trim().to_owned(),
        value.trim().parse().map_err(|_| wrong())?,
    ))
}

/// `interpolation=10`.
pub(crate) fn stage_steps(text: &str) -> Result<(Stage, usize), String> {
    let wrong = || {
        format!(
            "expected STAGE=N with a stage of image, boxes, key_frames, prediction, interpolation, \
             upsampler and N of at least 1, not \"{text}\""
        )
    };
    let (name, steps) = text.split_once('=').ok_or_else(wrong)?;
    let name = serde_json::Value::String(name.trim().replace('-', "_"));
    let stage = serde_json::from_value(name).map_err(|_| wrong())?;
    match steps.trim().parse() {
        Ok(steps) if steps > 0 => Ok((stage, steps)),
        _ => Err(wrong()),
    }
}

fn sampler() -> impl TypedValueParser<Value = SamplerConfig> {
    let mut names: Vec<&str> = all_samplers().iter().map(SamplerConfig::name).collect();
    names.dedup();
    PossibleValuesParser::new(names).try_map(|name| SamplerConfig::from_name(&name))
}

/// `7.5`.
pub(crate) fn scale(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(format!("expected a number such as 1.5, not \"{text}\"")),
    }
}

/// `7.5`, or `1:3`.
fn guidance(text: &str) -> Result<Guidance, String> {
    let number = |part| {
        scale(part).map_err(|_| {
            format!("expected a number such as 7.5, or FIRST:LAST such as 1:3, not \"{text}\"")
        })
    };
    Ok(match text.split_once(':') {
        Some((first, last)) => Guidance::PerFrame {
            first: number(first)?,
            last: number(last)?,
        },
        None => Guidance::ClassifierFree {
            scale: number(text)?,
        },
    })
}
