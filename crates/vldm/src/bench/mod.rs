//! One part of a preset with random weights, to be run again and again: what `vldm bench` measures.
//!
//! The values of weights do not change the time a network takes, so no checkpoint is needed. What is
//! run is what pipelines and training run: a pass of the U-Net, a decoder or encoder on pictures or
//! a clip, the text encoder on full windows of tokens, a step of training. [`Bench`] holds the
//! weights and the inputs and does not look at a clock.
//!
//! Operations are counted as [`vldm_kernels::flops`] tells: products of convolutions, matrices and
//! attention, two per multiply-add.

mod coder;
mod network;
mod text;
mod train;
mod weights;

use burn::tensor::{DType, Device};

use crate::autoencoder::AutoencoderConfig;
use crate::error::{Error, Result};
use crate::nn::temporal::AlphaConfig;
use crate::preset::Preset;

pub use vldm_kernels::peak::{Peak, measure as measure_peak};
pub use weights::Parameters;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BenchPart {
    /// One pass of the denoising network, with its temporal layers where the preset has them.
    UNet,
    /// Latents to pixels: a clip with the decoder's temporal layers where the preset has them, else
    /// one frame after the other.
    VaeDecode,
    /// Pixels to latents, one frame after the other.
    VaeEncode,
    /// Full windows of tokens to vectors.
    Text,
    /// Forward, backward and AdamW of the denoising network.
    Train,
}

impl BenchPart {
    const ALL: [Self; 5] = [
        Self::UNet,
        Self::VaeDecode,
        Self::VaeEncode,
        Self::Text,
        Self::Train,
    ];

    /// Its name as an argument.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UNet => "unet",
            Self::VaeDecode => "vae-decode",
            Self::VaeEncode => "vae-encode",
            Self::Text => "text",
            Self::Train => "train",
        }
    }

    fn is_in(self, preset: &Preset) -> bool {
        match self {
            Self::UNet | Self::Train => preset.unet.is_some(),
            Self::VaeDecode | Self::VaeEncode => preset.autoencoder.is_some(),
            Self::Text => preset.text_encoder.is_some(),
        }
    }
}

/// Which parameters learn in [`BenchPart::Train`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trained {
    /// All of them.
    All,
    /// The temporal layers; the image network is frozen.
    Temporal,
}

/// What to measure, and at which size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BenchRequest {
    /// What is measured.
    pub part: BenchPart,
    /// Clips, pictures or prompts at a time. A pass with guidance is a batch of two.
    pub batch: usize,
    /// Frames of a clip; the preset's unless given. Without temporal layers they are pictures.
    pub frames: Option<usize>,
    /// Height in pixels. Unless given 320; for training what the preset was trained at.
    pub height: Option<usize>,
    /// Width in pixels. Unless given 512; for training what the preset was trained at.
    pub width: Option<usize>,
    /// What is computed in; f32 or bf16. Parameters that learn stay f32, and so do their moments.
    pub dtype: DType,
    /// Which parameters learn; the temporal layers unless given, all where there are none.
    pub trained: Option<Trained>,
}

impl BenchRequest {
    /// Checks that `preset` has the part and can be run at that size; nothing is allocated.
    ///
    /// # Errors
    /// [`Error::Input`] saying what to ask for instead.
    pub fn check(&self, preset: &Preset) -> Result<()> {
        resolve(preset, self)?;
        trained(preset, self)?;
        Ok(())
    }
}

/// A request with everything filled in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BenchSize {
    /// Clips, pictures or prompts at a time.
    pub batch: usize,
    /// Frames of a clip.
    pub frames: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Pixels per latent along each side.
    factor: usize,
    dtype: DType,
}

impl BenchSize {
    /// Height and width of the latents.
    fn latents(&self) -> [usize; 2] {
        [self.height / self.factor, self.width / self.factor]
    }
}

/// Something that can be run again and again.
trait Work {
    /// Runs once.
    fn run(&mut self);

    /// Runs once and says how many operations that takes.
    fn count(&mut self) -> u64 {
        vldm_kernels::flops::count(|| self.run()).1
    }

    /// How many parameters there are, and what they take.
    fn parameters(&self) -> Parameters;
}

/// A part with its weights and inputs, on a device.
#[expect(missing_debug_implementations, reason = "holds whole networks")]
pub struct Bench {
    /// How large the input is.
    pub size: BenchSize,
    /// Which parameters learn, where any do.
    pub trained: Option<Trained>,
    device: Device,
    work: Box<dyn Work>,
}

impl Bench {
    /// Checks the request, and makes the weights and inputs.
    ///
    /// # Errors
    /// [`Error::Input`] when the preset has no such part, or cannot be run at that size.
    pub fn new(preset: &Preset, request: &BenchRequest, device: &Device) -> Result<Self> {
        let size = resolve(preset, request)?;
        let trained = trained(preset, request)?;
        let work: Box<dyn Work> = match request.part {
            BenchPart::UNet => Box::new(network::Pass::new(preset, &size, device)?),
            BenchPart::VaeDecode => Box::new(coder::Decode::new(preset, &size, device)?),
            BenchPart::VaeEncode => Box::new(coder::Encode::new(preset, &size, device)?),
            BenchPart::Text => Box::new(text::Encode::new(preset, &size, device)?),
            BenchPart::Train => {
                let trained = trained.unwrap_or(Trained::All);
                Box::new(train::Training::new(preset, &size, trained, device)?)
            }
        };
        Ok(Self {
            size,
            trained,
            device: device.clone(),
            work,
        })
    }

    /// Runs once and waits for the device.
    ///
    /// # Errors
    /// [`Error::Backend`] when the device fails.
    pub fn run(&mut self) -> Result<()> {
        self.work.run();
        self.wait()
    }

    /// Runs once to warm up, and says how many operations a run takes.
    ///
    /// The operations of a backward pass are not counted but derived, as the field does: a weight's
    /// gradient costs as much as the forward pass, and so does the gradient of its input. Training
    /// everything is three times the forward pass. Training the temporal layers is twice the forward
    /// pass (the gradient flows through all layers) and their own part of it once more; that nothing
    /// flows through the layers before the first temporal one is left aside.
    ///
    /// # Errors
    /// [`Error::Backend`] when the device fails.
    pub fn warm_up(&mut self) -> Result<u64> {
        let flops = self.work.count();
        self.wait()?;
        Ok(flops)
    }

    /// How many parameters there are, and what they take.
    #[must_use]
    pub fn parameters(&self) -> Parameters {
        self.work.parameters()
    }

    fn wait(&self) -> Result<()> {
        let failed = |error| Error::Backend(format!("the device failed: {error:?}"));
        self.device.sync().map_err(failed)
    }
}

/// Fills in what the request leaves open.
fn resolve(preset: &Preset, request: &BenchRequest) -> Result<BenchSize> {
    check_part(preset, request.part)?;
    let clip = preset.clip.as_ref();
    let usual = match (request.part, clip) {
        (BenchPart::Train, Some(clip)) => [clip.height, clip.width],
        _ => [320, 512],
    };
    let autoencoder = preset.autoencoder.as_ref();
    let size = BenchSize {
        batch: request.batch,
        frames: match (request.part, request.frames) {
            (BenchPart::Text, None) => 1,
            (_, frames) => frames.unwrap_or(clip.map_or(1, |clip| clip.num_frames)),
        },
        height: request.height.unwrap_or(usual[0]),
        width: request.width.unwrap_or(usual[1]),
        factor: autoencoder.map_or(1, AutoencoderConfig::factor),
        dtype: request.dtype,
    };
    check_size(preset, &size)?;
    Ok(size)
}

fn check_part(preset: &Preset, part: BenchPart) -> Result<()> {
    if preset.is_stack() {
        let models: Vec<&str> = preset.stages.iter().map(|s| s.preset.as_str()).collect();
        return Err(Error::Input(format!(
            "{} is a stack of several models: measure one of {}",
            preset.name,
            models.join(", ")
        )));
    }
    if part.is_in(preset) {
        return Ok(());
    }
    let there = BenchPart::ALL.into_iter().filter(|part| part.is_in(preset));
    let there: Vec<&str> = there.map(BenchPart::name).collect();
    let missing = match part {
        BenchPart::UNet | BenchPart::Train => "U-Net",
        BenchPart::VaeDecode | BenchPart::VaeEncode => "autoencoder",
        BenchPart::Text => "text encoder",
    };
    Err(Error::Input(format!(
        "{} has no {missing}: --part {} cannot be measured, expected one of {}",
        preset.name,
        part.name(),
        there.join(", ")
    )))
}

fn check_size(preset: &Preset, size: &BenchSize) -> Result<()> {
    if size.batch == 0 || size.frames == 0 {
        return Err(Error::Input(
            "a batch of 0 or a clip of 0 frames cannot be measured: ask for at least 1".into(),
        ));
    }
    let factor = size.factor;
    for (name, value) in [("width", size.width), ("height", size.height)] {
        if value == 0 || !value.is_multiple_of(factor) {
            let nearest = ((value + factor / 2) / factor).max(1) * factor;
            return Err(Error::Input(format!(
                "{name} is {value}, expected a multiple of {factor} for this model; the nearest is \
                 {nearest}"
            )));
        }
    }
    match preset.temporal.as_ref().map(|config| config.alpha) {
        Some(AlphaConfig::PerFrame { frames }) if frames != size.frames => {
            Err(Error::Input(format!(
                "{} has temporal layers for clips of exactly {frames} frames, not {}",
                preset.name, size.frames
            )))
        }
        _ => Ok(()),
    }
}

fn trained(preset: &Preset, request: &BenchRequest) -> Result<Option<Trained>> {
    let has_temporal = preset.temporal.is_some();
    match (request.part, request.trained) {
        (BenchPart::Train, None) if has_temporal => Ok(Some(Trained::Temporal)),
        (BenchPart::Train, None) => Ok(Some(Trained::All)),
        (BenchPart::Train, Some(Trained::Temporal)) if !has_temporal => Err(Error::Input(format!(
            "{} has no temporal layers that could be trained alone: train all parameters, or \
                 name a video preset",
            preset.name
        ))),
        (BenchPart::Train, trained) => Ok(trained),
        (part, Some(_)) => Err(Error::Input(format!(
            "only --part train trains: leave --trained out of --part {}",
            part.name()
        ))),
        (_, None) => Ok(None),
    }
}
