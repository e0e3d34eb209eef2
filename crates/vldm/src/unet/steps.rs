//! Running a U-Net as a list of steps over an explicit state.

use burn::module::Module;
use burn::tensor::Tensor;
use vldm_kernels::Channels;

use super::{Level, TemporalLayers, TemporalLevel, UNet};
use crate::nn::temporal::{TemporalContext, TemporalResnet, TemporalTransformer};
use crate::nn::{Downsample, ResnetBlock, SpatialTransformer, Upsample};

/// Everything that flows along the U.
#[derive(Debug, Clone)]
pub struct UNetState {
    /// The current features, `[n, height, width, channels]`.
    pub features: Tensor<4>,
    /// Features waiting for the way up, the latest last.
    pub skips: Vec<Tensor<4>>,
    /// Noise level and vector conditioning through their SiLU, `[n, width]`.
    pub embedding: Tensor<2>,
    /// Tokens for cross-attention, `[batch, tokens, width]`.
    pub context: Option<Tensor<3>>,
}

/// A residual block, its transformer, and their temporal partners.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The residual block.
    pub resnet: &'a ResnetBlock,
    /// The transformer after it.
    pub transformer: Option<&'a SpatialTransformer>,
    /// The temporal residual block after the residual block.
    pub temporal_resnet: Option<&'a TemporalResnet>,
    /// The temporal partner of the transformer.
    pub temporal_transformer: Option<&'a TemporalTransformer>,
}

/// One step along the U.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// A site whose result is also kept for the way up.
    Down(Site<'a>),
    /// To half the resolution; the result is also kept.
    Downsample(&'a Downsample),
    /// A site in the middle.
    Mid(Site<'a>),
    /// A site that reads the latest kept features beside its input.
    Up(Site<'a>),
    /// To the resolution of the latest kept features.
    Upsample(&'a Upsample),
}

/// The layers of one step alone, to be mapped without the rest of the network.
#[derive(Module, Debug)]
pub(crate) struct StepLayers {
    resnet: Option<ResnetBlock>,
    transformer: Option<SpatialTransformer>,
    temporal_resnet: Option<TemporalResnet>,
    temporal_transformer: Option<TemporalTransformer>,
    downsample: Option<Downsample>,
    upsample: Option<Upsample>,
}

impl StepLayers {
    pub(crate) fn of(step: &Step) -> Self {
        let site = match step {
            Step::Down(site) | Step::Mid(site) | Step::Up(site) => Some(site),
            Step::Downsample(_) | Step::Upsample(_) => None,
        };
        Self {
            resnet: site.map(|site| site.resnet.clone()),
            transformer: site.and_then(|site| site.transformer.cloned()),
            temporal_resnet: site.and_then(|site| site.temporal_resnet.cloned()),
            temporal_transformer: site.and_then(|site| site.temporal_transformer.cloned()),
            downsample: match step {
                Step::Downsample(layer) => Some((*layer).clone()),
                _ => None,
            },
            upsample: match step {
                Step::Upsample(layer) => Some((*layer).clone()),
                _ => None,
            },
        }
    }

    /// The same step as the one these layers were taken from, with them in its place.
    pub(crate) fn step(&self, like: &Step) -> Step<'_> {
        let site = || Site {
            resnet: self.resnet.as_ref().expect("a site has a residual block"),
            transformer: self.transformer.as_ref(),
            temporal_resnet: self.temporal_resnet.as_ref(),
            temporal_transformer: self.temporal_transformer.as_ref(),
        };
        match like {
            Step::Down(_) => Step::Down(site()),
            Step::Mid(_) => Step::Mid(site()),
            Step::Up(_) => Step::Up(site()),
            Step::Downsample(_) => {
                Step::Downsample(self.downsample.as_ref().expect("taken from such a step"))
            }
            Step::Upsample(_) => {
                Step::Upsample(self.upsample.as_ref().expect("taken from such a step"))
            }
        }
    }
}

impl Step<'_> {
    /// Whether the step's result is also kept for the way up.
    pub(crate) fn keeps_result(&self) -> bool {
        matches!(self, Step::Down(_) | Step::Downsample(_))
    }

    /// Whether the step reads the latest kept features.
    pub(crate) fn reads_kept(&self) -> bool {
        matches!(self, Step::Up(_))
    }
}

impl UNet {
    /// All steps in order. Without temporal layers this is the image model.
    pub fn steps<'a>(&'a self, temporal: Option<&'a TemporalLayers>) -> Vec<Step<'a>> {
        let mut steps = Vec::new();
        for (index, level) in self.down_blocks.iter().enumerate() {
            let temporal = temporal.map(|layers| &layers.down_blocks[index]);
            steps.extend(sites(level, temporal).map(Step::Down));
            steps.extend(level.downsamplers.iter().map(Step::Downsample));
        }
        let temporal_mid = temporal.map(|layers| &layers.mid_block);
        steps.extend(sites(&self.mid_block, temporal_mid).map(Step::Mid));
        for (index, level) in self.up_blocks.iter().enumerate() {
            let temporal = temporal.map(|layers| &layers.up_blocks[index]);
            steps.extend(sites(level, temporal).map(Step::Up));
            steps.extend(level.upsamplers.iter().map(Step::Upsample));
        }
        steps
    }
}

fn sites<'a>(
    level: &'a Level,
    temporal: Option<&'a TemporalLevel>,
) -> impl Iterator<Item = Site<'a>> {
    level
        .resnets
        .iter()
        .enumerate()
        .map(move |(index, resnet)| Site {
            resnet,
            transformer: level.attentions.get(index),
            temporal_resnet: temporal.and_then(|level| level.resnets.get(index)),
            temporal_transformer: temporal.and_then(|level| level.attentions.get(index)),
        })
}

impl Step<'_> {
    /// Moves the state one step along.
    ///
    /// # Shapes
    /// - `state.features`: `[n, height, width, channels]` before and after, sizes as the step says
    pub fn forward(&self, mut state: UNetState, time: Option<&TemporalContext>) -> UNetState {
        match self {
            Step::Down(site) => {
                state = site.forward(state, None, time);
                state.skips.push(state.features.clone());
            }
            Step::Downsample(layer) => {
                state.features = layer.forward(state.features);
                state.skips.push(state.features.clone());
            }
            Step::Mid(site) => state = site.forward(state, None, time),
            Step::Up(site) => {
                let skip = state.skips.pop();
                state = site.forward(state, skip, time);
            }
            Step::Upsample(layer) => {
                // The next skip decides: a latent of odd size was halved upwards on the way down.
                let [_, h, w, _] = state.features.dims();
                let size = match state.skips.last() {
                    Some(skip) => [skip.dims()[1], skip.dims()[2]],
                    None => [2 * h, 2 * w],
                };
                state.features = layer.forward(state.features, size);
            }
        }
        state
    }
}

impl Site<'_> {
    fn forward(
        &self,
        state: UNetState,
        skip: Option<Tensor<4>>,
        time: Option<&TemporalContext>,
    ) -> UNetState {
        let UNetState {
            features,
            skips,
            embedding,
            context,
        } = state;
        let input = match skip {
            Some(skip) => Channels::Two(features, skip),
            None => Channels::One(features),
        };
        let mut features = self.resnet.forward(input, Some(embedding.clone()));
        if let (Some(layer), Some(time)) = (self.temporal_resnet, time) {
            features = layer.forward(features, Some(embedding.clone()), time);
        }
        if let Some(transformer) = self.transformer {
            let temporal = self.temporal_transformer.zip(time);
            features = transformer.forward(features, context.as_ref(), temporal);
        }
        UNetState {
            features,
            skips,
            embedding,
            context,
        }
    }
}
