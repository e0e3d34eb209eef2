//! `UNet2DConditionModel` and `UNetSpatioTemporalConditionModel`.

use serde_json::{Value, json};

use super::Json;
use crate::checkpoint::CheckpointError;

type Result<T> = std::result::Result<T, CheckpointError>;

/// A U-Net as diffusers describes it. Lists have one entry per level, finest first.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffusersUNetConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Height and width of the latents that the model was trained on.
    pub sample_size: Option<[usize; 2]>,
    /// Channels of each level.
    pub channels: Vec<usize>,
    /// Residual blocks of each level on the way down; one more on the way up.
    pub layers_per_block: Vec<usize>,
    /// Whether a level has transformers.
    pub attention: Vec<bool>,
    /// Whether the first attention of a level's transformers reads the features themselves; if
    /// not, it reads the context too.
    pub self_attention: Vec<bool>,
    /// The same for the transformer in the middle; `None` when there is none.
    pub mid_self_attention: Option<bool>,
    /// Transformer blocks in a row at each level; the middle has as many as the last level.
    pub transformer_layers: Vec<usize>,
    /// Attention heads of each level; the middle has as many as the last level.
    pub heads: Vec<usize>,
    /// Width of the context tokens; `None` where there is no transformer to read them.
    pub context_width: Option<usize>,
    /// Whether the transformers' projections are matrices in the file (else 1×1 convolutions).
    pub linear_projection: bool,
    /// Groups of the group normalisations.
    pub norm_groups: usize,
    /// ε of the residual blocks' normalisations. Of video models diffusers fixes it by place,
    /// 1e-6 in levels with transformers and on the way up: this is the value of the plain levels.
    pub norm_eps: f64,
    /// Entries of the table of class vectors (the x4-upscaler's noise level).
    pub class_labels: Option<usize>,
    /// Numbers that enter through the noise-level embedding (SVD).
    pub scalars: Option<Scalars>,
    /// Frequencies in which transformers' tokens are told their place; no model of diffusers has any.
    pub position_octaves: usize,
    /// Compute attention weights in f32 whatever the model's data type.
    pub upcast_attention: bool,
    /// A video model: temporal layers after every spatial one. `Some` holds the number of frames
    /// that it was trained on.
    pub num_frames: Option<usize>,
}

/// Numbers that enter through the noise-level embedding, each as a sinusoidal code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scalars {
    /// How many.
    pub count: usize,
    /// Channels of each code.
    pub width: usize,
}

const IMAGE: &str = "UNet2DConditionModel";
const VIDEO: &str = "UNetSpatioTemporalConditionModel";
const CHANNELS: [usize; 4] = [320, 640, 1280, 1280];

impl DiffusersUNetConfig {
    /// Reads a U-Net's `config.json`.
    ///
    /// # Errors
    ///
    /// Names the first key that is not understood or not supported, what it says and what was
    /// expected.
    pub fn from_json(json: &Json) -> Result<Self> {
        let is_video = json.choice("_class_name", IMAGE, &[(IMAGE, false), (VIDEO, true)])?;
        let config = if is_video { video(json)? } else { image(json)? };
        config.check(json)?;
        Ok(config)
    }

    fn check(&self, json: &Json) -> Result<()> {
        let groups = self.norm_groups;
        if self.channels.iter().any(|channels| channels % groups != 0) {
            return Err(json.wrong(
                "block_out_channels",
                format!("multiples of norm_num_groups = {groups}"),
            ));
        }
        for (index, (&channels, &heads)) in self.channels.iter().zip(&self.heads).enumerate() {
            let is_last = index + 1 == self.channels.len();
            let used = self.attention[index] || (is_last && self.mid_self_attention.is_some());
            if used && heads > channels {
                let key = match json.get("num_attention_heads") {
                    Some(_) => "num_attention_heads",
                    None => "attention_head_dim",
                };
                return Err(json.wrong(
                    key,
                    format!(
                        "numbers of heads no larger than the channels {:?}",
                        self.channels
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Whether this is a video model.
    pub fn is_video(&self) -> bool {
        self.num_frames.is_some()
    }

    /// The configuration in diffusers' own form, to be saved beside the weights.
    pub fn to_json(&self) -> Value {
        let suffix = if self.is_video() {
            "SpatioTemporal"
        } else {
            "2D"
        };
        let block = |direction: &str, attention: bool| {
            let cross = if attention { "CrossAttn" } else { "" };
            format!("{cross}{direction}Block{suffix}")
        };
        let down: Vec<String> = self.attention.iter().map(|&a| block("Down", a)).collect();
        let up: Vec<String> = self
            .attention
            .iter()
            .rev()
            .map(|&a| block("Up", a))
            .collect();
        let mut out = json!({
            "_class_name": if self.is_video() { VIDEO } else { IMAGE },
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "sample_size": match self.sample_size {
                Some([height, width]) if height == width => json!(height),
                other => json!(other),
            },
            "block_out_channels": self.channels,
            "layers_per_block": self.layers_per_block,
            "down_block_types": down,
            "up_block_types": up,
            "transformer_layers_per_block": self.transformer_layers,
            "cross_attention_dim": self.context_width,
        });
        if let (Some(out), Value::Object(more)) = (out.as_object_mut(), self.kind_json()) {
            out.extend(more);
        }
        if self.position_octaves > 0 {
            out["position_octaves"] = json!(self.position_octaves);
        }
        if self.is_video() && self.norm_groups != 32 {
            out["norm_num_groups"] = json!(self.norm_groups);
        }
        out
    }

    /// What only models of pictures, or of clips, say.
    fn kind_json(&self) -> Value {
        match (self.num_frames, self.scalars) {
            (Some(frames), scalars) => json!({
                "num_attention_heads": self.heads,
                "num_frames": frames,
                "addition_time_embed_dim": scalars.map(|s| s.width),
                "projection_class_embeddings_input_dim": scalars.map(|s| s.width * s.count),
            }),
            (None, _) => json!({
                "attention_head_dim": self.heads,
                "only_cross_attention":
                    self.self_attention.iter().map(|own| !own).collect::<Vec<bool>>(),
                "mid_block_type": match self.mid_self_attention {
                    Some(_) => "UNetMidBlock2DCrossAttn",
                    None => "UNetMidBlock2D",
                },
                "use_linear_projection": self.linear_projection,
                "norm_num_groups": self.norm_groups,
                "norm_eps": self.norm_eps,
                "num_class_embeds": self.class_labels,
                "upcast_attention": self.upcast_attention,
            }),
        }
    }
}

/// The names of the two kinds of block on either side of the U, with and without transformers, and
/// diffusers' default lists of them.
struct Blocks {
    down: [(&'static str, bool); 2],
    up: [(&'static str, bool); 2],
}

const IMAGE_BLOCKS: Blocks = Blocks {
    down: [("CrossAttnDownBlock2D", true), ("DownBlock2D", false)],
    up: [("CrossAttnUpBlock2D", true), ("UpBlock2D", false)],
};
const VIDEO_BLOCKS: Blocks = Blocks {
    down: [
        ("CrossAttnDownBlockSpatioTemporal", true),
        ("DownBlockSpatioTemporal", false),
    ],
    up: [
        ("CrossAttnUpBlockSpatioTemporal", true),
        ("UpBlockSpatioTemporal", false),
    ],
};

/// Settings that both kinds share.
fn common(json: &Json, blocks: &Blocks) -> Result<Common> {
    let channels = json.sizes("block_out_channels", &CHANNELS)?;
    let levels = channels.len();
    let [(cross, _), (plain, _)] = blocks.down;
    let default = [cross, cross, cross, plain];
    let attention = json.choices("down_block_types", &default, levels, &blocks.down)?;
    let [(cross, _), (plain, _)] = blocks.up;
    let default = [plain, cross, cross, cross];
    let mut up = json.choices("up_block_types", &default, levels, &blocks.up)?;
    up.reverse();
    if up != attention {
        return Err(json.wrong(
            "up_block_types",
            "the kinds of `down_block_types` in reverse order (nothing else is supported)",
        ));
    }
    Ok(Common {
        layers_per_block: json.per_level("layers_per_block", 2, levels)?,
        transformer_layers: json.per_level("transformer_layers_per_block", 1, levels)?,
        attention,
        channels,
        levels,
    })
}

struct Common {
    channels: Vec<usize>,
    attention: Vec<bool>,
    layers_per_block: Vec<usize>,
    transformer_layers: Vec<usize>,
    levels: usize,
}

/// Settings of image U-Nets of which one value is supported, which is also the default.
fn unsupported(json: &Json) -> Result<()> {
    for (key, value) in [
        ("act_fn", json!("silu")),
        ("center_input_sample", json!(false)),
        ("flip_sin_to_cos", json!(true)),
        ("freq_shift", json!(0)),
        ("downsample_padding", json!(1)),
        ("mid_block_scale_factor", json!(1)),
        ("dual_cross_attention", json!(false)),
        ("resnet_time_scale_shift", json!("default")),
        ("resnet_skip_time_act", json!(false)),
        ("resnet_out_scale_factor", json!(1.0)),
        ("time_embedding_type", json!("positional")),
        ("conv_in_kernel", json!(3)),
        ("conv_out_kernel", json!(3)),
        ("attention_type", json!("default")),
        ("class_embeddings_concat", json!(false)),
    ] {
        json.only(key, value)?;
    }
    for key in [
        "reverse_transformer_layers_per_block",
        "encoder_hid_dim",
        "encoder_hid_dim_type",
        "class_embed_type",
        "addition_embed_type",
        "time_embedding_dim",
        "time_embedding_act_fn",
        "timestep_post_act",
        "time_cond_proj_dim",
        "projection_class_embeddings_input_dim",
        "cross_attention_norm",
    ] {
        if json.get(key).is_some() {
            return Err(json.wrong(key, "null (nothing else is supported)"));
        }
    }
    Ok(())
}

fn image(json: &Json) -> Result<DiffusersUNetConfig> {
    unsupported(json)?;
    let common = common(json, &IMAGE_BLOCKS)?;
    let levels = common.levels;
    let only_cross = json.flags_per_level("only_cross_attention", false, levels)?;
    let has_mid_attention = json.choice(
        "mid_block_type",
        "UNetMidBlock2DCrossAttn",
        &[("UNetMidBlock2DCrossAttn", true), ("UNetMidBlock2D", false)],
    )?;
    // `attention_head_dim` holds the *number* of heads: a name that diffusers kept by mistake.
    let heads = match json.get("num_attention_heads") {
        Some(_) => json.per_level("num_attention_heads", 8, levels)?,
        None => json.per_level("attention_head_dim", 8, levels)?,
    };
    let attends = has_mid_attention || common.attention.contains(&true);
    let context_width = attends.then(|| json.size("cross_attention_dim", 1280));
    Ok(DiffusersUNetConfig {
        in_channels: json.size("in_channels", 4)?,
        out_channels: json.size("out_channels", 4)?,
        sample_size: json.optional_sides("sample_size")?,
        self_attention: only_cross.iter().map(|only| !only).collect(),
        // diffusers builds this middle with self-attention whatever its flags say.
        mid_self_attention: has_mid_attention.then_some(true),
        heads,
        context_width: context_width.transpose()?,
        linear_projection: json.flag("use_linear_projection", false)?,
        norm_groups: json.size("norm_num_groups", 32)?,
        norm_eps: json.positive("norm_eps", 1e-5)?,
        class_labels: json.optional_size("num_class_embeds")?,
        scalars: None,
        position_octaves: json.size("position_octaves", 0)?,
        upcast_attention: json.flag("upcast_attention", false)?,
        num_frames: None,
        channels: common.channels,
        layers_per_block: common.layers_per_block,
        attention: common.attention,
        transformer_layers: common.transformer_layers,
    })
}

fn video(json: &Json) -> Result<DiffusersUNetConfig> {
    let common = common(json, &VIDEO_BLOCKS)?;
    let levels = common.levels;
    let heads = match json.get("num_attention_heads") {
        None if levels == 4 => vec![5, 10, 20, 20],
        _ => json.per_level("num_attention_heads", 5, levels)?,
    };
    let width = json.size("addition_time_embed_dim", 256)?;
    let total = json.size("projection_class_embeddings_input_dim", 768)?;
    if total % width != 0 {
        return Err(json.wrong(
            "projection_class_embeddings_input_dim",
            format!("a multiple of addition_time_embed_dim = {width}"),
        ));
    }
    Ok(DiffusersUNetConfig {
        in_channels: json.size("in_channels", 8)?,
        out_channels: json.size("out_channels", 4)?,
        sample_size: json.optional_sides("sample_size")?,
        self_attention: vec![true; levels],
        mid_self_attention: Some(true),
        heads,
        context_width: Some(json.size("cross_attention_dim", 1024)?),
        linear_projection: true,
        // diffusers fixes this number; models that are not its own may say another.
        norm_groups: json.size("norm_num_groups", 32)?,
        norm_eps: 1e-5,
        class_labels: None,
        scalars: Some(Scalars {
            count: total / width,
            width,
        }),
        position_octaves: json.size("position_octaves", 0)?,
        upcast_attention: false,
        num_frames: Some(json.size("num_frames", 25)?),
        channels: common.channels,
        layers_per_block: common.layers_per_block,
        attention: common.attention,
        transformer_layers: common.transformer_layers,
    })
}
