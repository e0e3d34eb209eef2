//! Building a U-Net and its temporal layers from a list of levels, by one walk.

use super::config::{Place, TemporalConfig, TransformerConfig, UNetConfig, VectorConfig};
use super::{Level, TemporalLayers, TemporalLevel, UNet};
use crate::nn::temporal::{
    TemporalResnet, TemporalResnetConfig, TemporalTransformer, TemporalTransformerConfig,
    TimeKernel,
};
use crate::nn::{
    Conv2d, Downsample, Embedding, GroupNorm, Init, ResnetBlock, ResnetBlockConfig,
    SpatialTransformer, SpatialTransformerConfig, TimestepEmbedding, Upsample,
};

/// The residual blocks and transformers of one level on one side of the U.
#[derive(Debug, Clone)]
pub(super) struct LevelPlan {
    place: Place,
    /// Input channels of each residual block; of both inputs together on the way up.
    inputs: Vec<usize>,
    channels: usize,
    transformer: Option<TransformerConfig>,
    /// Transformers there are: one per residual block, but one in the middle.
    transformers: usize,
    /// Whether the level ends in a change of resolution.
    resamples: bool,
}

/// All levels in execution order: down, middle, up.
pub(super) struct Plan {
    pub(super) down: Vec<LevelPlan>,
    pub(super) mid: LevelPlan,
    pub(super) up: Vec<LevelPlan>,
}

impl Plan {
    /// One walk along the U, carrying the current width and those of the skip connections.
    pub(super) fn new(config: &UNetConfig) -> Self {
        let last = config.levels.len() - 1;
        let mut width = config.levels[0].channels;
        let mut skips = vec![width];
        let mut down = Vec::new();
        for (index, level) in config.levels.iter().enumerate() {
            let mut inputs = Vec::new();
            for _ in 0..level.resnet_blocks {
                inputs.push(width);
                width = level.channels;
                skips.push(width);
            }
            let resamples = index != last;
            if resamples {
                skips.push(width);
            }
            down.push(LevelPlan::new(Place::Down, inputs, level, resamples));
        }
        let mut mid = LevelPlan::new(Place::Mid, vec![width; 2], &config.levels[last], false);
        mid.transformer = config.mid_transformer;
        mid.transformers = usize::from(config.mid_transformer.is_some());
        let mut up = Vec::new();
        for (index, level) in config.levels.iter().enumerate().rev() {
            let mut inputs = Vec::new();
            for _ in 0..=level.resnet_blocks {
                inputs.push(width + skips.pop().expect("one skip per block on the way up"));
                width = level.channels;
            }
            up.push(LevelPlan::new(Place::Up, inputs, level, index != 0));
        }
        Self { down, mid, up }
    }
}

impl LevelPlan {
    fn new(
        place: Place,
        inputs: Vec<usize>,
        level: &super::config::LevelConfig,
        resamples: bool,
    ) -> Self {
        Self {
            place,
            transformers: level.transformer.map_or(0, |_| inputs.len()),
            inputs,
            channels: level.channels,
            transformer: level.transformer,
            resamples,
        }
    }

    fn eps(&self, config: &UNetConfig) -> f64 {
        config.norm_eps.at(self.place, self.transformer.is_some())
    }

    fn build(&self, config: &UNetConfig, init: &Init) -> Level {
        let resnet = |&inputs: &usize| {
            let sizes = ResnetBlockConfig {
                inputs,
                outputs: self.channels,
                embedding: Some(config.embedding_width()),
                groups: config.norm_groups,
                eps: self.eps(config),
            };
            ResnetBlock::new(sizes, init)
        };
        let transformer = |transformer: TransformerConfig| {
            let sizes = SpatialTransformerConfig {
                channels: self.channels,
                heads: transformer.heads,
                head_channels: self.channels / transformer.heads,
                blocks: transformer.blocks,
                context: config.context_width,
                self_attention: transformer.self_attention,
                groups: config.norm_groups,
                position_octaves: config.position_octaves,
            };
            SpatialTransformer::new(sizes, init)
        };
        let resample = |place| (self.resamples && self.place == place).then_some(self.channels);
        Level {
            resnets: self.inputs.iter().map(resnet).collect(),
            attentions: (0..self.transformers)
                .filter_map(|_| self.transformer.map(transformer))
                .collect(),
            downsamplers: resample(Place::Down)
                .map(|channels| Downsample::new(channels, init))
                .into_iter()
                .collect(),
            upsamplers: resample(Place::Up)
                .map(|channels| Upsample::new(channels, init))
                .into_iter()
                .collect(),
        }
    }

    fn build_temporal(
        &self,
        config: &UNetConfig,
        temporal: &TemporalConfig,
        init: &Init,
    ) -> TemporalLevel {
        let resnet = || {
            let sizes = TemporalResnetConfig {
                channels: self.channels,
                embedding: Some(config.embedding_width()),
                observed: temporal
                    .observed
                    .map(|observed| [observed.in_channels, observed.channels]),
                kernel: TimeKernel::Time,
                groups: config.norm_groups,
                eps: self.eps(config),
                alpha: temporal.alpha,
                start: temporal.start,
            };
            TemporalResnet::new(sizes, init)
        };
        let transformer = |transformer: TransformerConfig| {
            let sizes = TemporalTransformerConfig {
                channels: self.channels,
                heads: transformer.heads,
                head_channels: self.channels / transformer.heads,
                blocks: transformer.blocks,
                context: temporal.context_width,
                self_attention: transformer.self_attention,
                positions: temporal.positions,
                alpha: temporal.alpha,
                start: temporal.start,
            };
            TemporalTransformer::new(sizes, init)
        };
        TemporalLevel {
            resnets: self.inputs.iter().map(|_| resnet()).collect(),
            attentions: (0..self.transformers)
                .filter_map(|_| self.transformer.map(transformer))
                .collect(),
        }
    }
}

pub(super) fn unet(config: &UNetConfig, init: &Init) -> UNet {
    let plan = Plan::new(config);
    let channels = config.levels[0].channels;
    let width = config.embedding_width();
    let level = |plan: &LevelPlan| plan.build(config, init);
    UNet {
        conv_in: Conv2d::new(config.in_channels, channels, 3, init),
        time_embedding: TimestepEmbedding::new(channels, width, width, init),
        class_embedding: match config.vector {
            VectorConfig::Label { count } => Some(Embedding::new(count, width, 1.0, init)),
            _ => None,
        },
        add_embedding: match config.vector {
            VectorConfig::Scalars { count, width: code } => {
                Some(TimestepEmbedding::new(count * code, width, width, init))
            }
            _ => None,
        },
        down_blocks: plan.down.iter().map(level).collect(),
        mid_block: level(&plan.mid),
        up_blocks: plan.up.iter().map(level).collect(),
        conv_norm_out: GroupNorm::new(config.norm_groups, channels, config.norm_eps.out(), init),
        conv_out: Conv2d::new(channels, config.out_channels, 3, init),
        channels,
        scalar_width: match config.vector {
            VectorConfig::Scalars { width, .. } => width,
            _ => 0,
        },
    }
}

pub(super) fn temporal_layers(
    config: &UNetConfig,
    temporal: &TemporalConfig,
    init: &Init,
) -> TemporalLayers {
    let plan = Plan::new(config);
    let level = |plan: &LevelPlan| plan.build_temporal(config, temporal, init);
    TemporalLayers {
        down_blocks: plan.down.iter().map(level).collect(),
        mid_block: level(&plan.mid),
        up_blocks: plan.up.iter().map(level).collect(),
    }
}
