//! Boxes on a frame, as tokens for cross-attention: where cars should stand in a first frame.
//!
//! The paper's box-conditioned image model learns "embeddings of box coordinates, fused by a
//! transformer" (Blattmann et al. 2023, appendix H.1) and says nothing of their sizes. Here each
//! box becomes Fourier features, a small network makes one vector of them and of the class, and a
//! transformer without order lets the boxes know of each other.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::{
    Attention, AttentionConfig, Embedding, FeedForward, Init, LayerNorm, Linear, fourier,
};

/// The sizes of a [`BoxEncoder`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoxEncoderConfig {
    /// Slots for boxes; a frame may have fewer.
    pub max_boxes: usize,
    /// Kinds of objects.
    pub classes: usize,
    /// What the kinds are called, in order; none, or one for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
    /// Frequencies per coordinate: π, 2π, 4π, …; each gives a sine and a cosine.
    pub frequencies: usize,
    /// Width inside.
    pub hidden: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads; must divide `hidden`.
    pub heads: usize,
    /// Width of the tokens: the U-Net's `context_width`.
    pub width: usize,
    /// Whether the tokens carry the boxes' Fourier features themselves, beside what the transformer,
    /// which then begins as the identity, makes of them. Attention learns a good deal sooner to find
    /// a box by them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub direct: bool,
}

/// A box on a frame. Coordinates are shares of the frame's width and height, from the upper left.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectBox {
    /// Left edge, 0 to 1.
    pub x0: f32,
    /// Upper edge, 0 to 1.
    pub y0: f32,
    /// Right edge, 0 to 1, right of `x0`.
    pub x1: f32,
    /// Lower edge, 0 to 1, below `y0`.
    pub y1: f32,
    /// Kind of object, counted from 0.
    #[serde(default)]
    pub class: usize,
}

/// The boxes of several frames as tensors.
#[derive(Debug, Clone)]
pub struct BoxBatch {
    /// x0, y0, x1, y1, zero in empty slots, `[batch, max_boxes, 4]`.
    pub coordinates: Tensor<3>,
    /// Classes, and the number of classes in empty slots, `[batch, max_boxes]`.
    pub classes: Tensor<2, Int>,
}

impl BoxEncoderConfig {
    /// Checks that the sizes describe an encoder.
    ///
    /// # Errors
    /// [`Error::Config`] names what is wrong.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            self.max_boxes,
            self.classes,
            self.frequencies,
            self.hidden,
            self.heads,
            self.width,
        ];
        if sizes.contains(&0) || !self.hidden.is_multiple_of(self.heads) {
            return Err(Error::Config(format!(
                "box encoder: expected sizes of at least 1 and heads that divide the hidden \
                 width, got {self:?}"
            )));
        }
        if !self.class_names.is_empty() && self.class_names.len() != self.classes {
            return Err(Error::Config(format!(
                "box encoder: {} class_names for {} classes; expected none, or one for each",
                self.class_names.len(),
                self.classes
            )));
        }
        Ok(())
    }

    /// Lays boxes into slots, one list per frame. A frame without boxes is the unconditional case.
    ///
    /// # Errors
    /// [`Error::Input`] when a frame has too many boxes, or a box has an unknown class, lies
    /// outside the frame or has no area.
    pub fn batch(&self, frames: &[Vec<ObjectBox>], device: &Device) -> Result<BoxBatch> {
        let mut coordinates = vec![0.0f32; frames.len() * self.max_boxes * 4];
        let mut classes = vec![self.classes as i64; frames.len() * self.max_boxes];
        for (number, boxes) in frames.iter().enumerate() {
            self.check(boxes)?;
            for (index, object) in boxes.iter().enumerate() {
                let slot = number * self.max_boxes + index;
                coordinates[4 * slot..4 * slot + 4]
                    .copy_from_slice(&[object.x0, object.y0, object.x1, object.y1]);
                classes[slot] = object.class as i64;
            }
        }
        let slots = [frames.len(), self.max_boxes];
        let coordinates = TensorData::new(coordinates, [slots[0], slots[1], 4]);
        Ok(BoxBatch {
            coordinates: Tensor::from_data(coordinates, device),
            classes: Tensor::from_data(TensorData::new(classes, slots), device),
        })
    }

    /// As many boxes as the encoder reads: the largest.
    #[must_use]
    pub fn largest(&self, boxes: &[ObjectBox]) -> Vec<ObjectBox> {
        let area = |object: &ObjectBox| (object.x1 - object.x0) * (object.y1 - object.y0);
        let mut boxes = boxes.to_vec();
        boxes.sort_by(|a, b| area(b).total_cmp(&area(a)));
        boxes.truncate(self.max_boxes);
        boxes
    }

    /// Checks that the boxes of a frame can be read.
    ///
    /// # Errors
    /// As [`BoxEncoderConfig::batch`].
    pub fn check(&self, boxes: &[ObjectBox]) -> Result<()> {
        if boxes.len() > self.max_boxes {
            return Err(Error::Input(format!(
                "a frame has {} boxes, expected at most {}: leave out the smallest",
                boxes.len(),
                self.max_boxes
            )));
        }
        boxes.iter().try_for_each(|object| self.check_one(object))
    }

    fn check_one(&self, object: &ObjectBox) -> Result<()> {
        let ObjectBox { x0, y0, x1, y1, .. } = *object;
        let inside = [x0, y0, x1, y1].iter().all(|c| (0.0..=1.0).contains(c));
        if !inside || x0 >= x1 || y0 >= y1 {
            return Err(Error::Input(format!(
                "the box ({x0}, {y0}, {x1}, {y1}) is not left, top, right, bottom within 0 to 1: \
                 divide pixels by the frame's width and height"
            )));
        }
        if object.class >= self.classes {
            return Err(Error::Input(format!(
                "a box has class {}, expected one below {}",
                object.class, self.classes
            )));
        }
        Ok(())
    }
}

/// Boxes to tokens.
#[derive(Module, Debug)]
pub struct BoxEncoder {
    /// Reads the Fourier features.
    pub linear_1: Linear,
    /// One vector per class, and one for an empty slot.
    pub class_embedding: Embedding,
    /// After the activation.
    pub linear_2: Linear,
    /// The transformer; it has no positions, so the order of the boxes does not matter.
    pub layers: Vec<BoxEncoderLayer>,
    /// After the last layer.
    pub norm: LayerNorm,
    /// To the tokens' width.
    pub proj_out: Linear,
    /// From the Fourier features to the tokens.
    pub direct: Option<Linear>,
    frequencies: usize,
}

/// Self-attention and a feed-forward network, each with norm and residual.
#[derive(Module, Debug)]
pub struct BoxEncoderLayer {
    /// Before the attention.
    pub norm1: LayerNorm,
    /// Over the boxes of a frame.
    pub attn: Attention,
    /// Before the feed-forward network.
    pub norm2: LayerNorm,
    /// The feed-forward network.
    pub ff: FeedForward,
}

impl BoxEncoderLayer {
    fn new(config: &BoxEncoderConfig, init: &Init) -> Self {
        let attention = AttentionConfig {
            channels: config.hidden,
            context: config.hidden,
            heads: config.heads,
            inner: config.hidden,
            bias: true,
        };
        let mut layer = Self {
            norm1: LayerNorm::new(config.hidden, 1e-5, init),
            attn: Attention::new(attention, init),
            norm2: LayerNorm::new(config.hidden, 1e-5, init),
            ff: FeedForward::new(config.hidden, init),
        };
        if config.direct {
            layer.attn.to_out = Linear::zeros(config.hidden, config.hidden, true, init);
            layer.ff = FeedForward::zeros(config.hidden, init);
        }
        layer
    }

    /// # Shapes
    /// - `x`, returns: `[batch, boxes, hidden]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let normed = self.norm1.forward(x.clone());
        let x = self.attn.forward(normed.clone(), normed, x);
        self.ff.forward(self.norm2.forward(x.clone()), x)
    }
}

impl BoxEncoder {
    /// An encoder with fresh parameters; `config` has been validated.
    pub fn new(config: &BoxEncoderConfig, init: &Init) -> Self {
        let hidden = config.hidden;
        Self {
            linear_1: Linear::new(8 * config.frequencies, hidden, true, init),
            class_embedding: Embedding::new(config.classes + 1, hidden, 0.02, init),
            linear_2: Linear::new(hidden, hidden, true, init),
            layers: (0..config.layers)
                .map(|_| BoxEncoderLayer::new(config, init))
                .collect(),
            norm: LayerNorm::new(hidden, 1e-5, init),
            proj_out: Linear::new(hidden, config.width, true, init),
            direct: config
                .direct
                .then(|| Linear::normal(8 * config.frequencies, config.width, 0.33, init)),
            frequencies: config.frequencies,
        }
    }

    /// One token per slot, empty ones included.
    ///
    /// # Shapes
    /// - `boxes`: coordinates `[batch, max_boxes, 4]`, classes `[batch, max_boxes]`
    /// - returns: `[batch, max_boxes, width]`
    pub fn forward(&self, boxes: BoxBatch) -> Tensor<3> {
        let features = fourier(&boxes.coordinates, self.frequencies);
        let hidden =
            self.linear_1.forward(features.clone()) + self.class_embedding.forward(boxes.classes);
        let mut x = self.linear_2.forward(vldm_kernels::silu(hidden));
        for layer in &self.layers {
            x = layer.forward(x);
        }
        let tokens = self.proj_out.forward(self.norm.forward(x));
        match &self.direct {
            Some(direct) => direct.forward_onto(features, tokens),
            None => tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BoxEncoderConfig = BoxEncoderConfig {
        max_boxes: 3,
        classes: 2,
        class_names: Vec::new(),
        frequencies: 4,
        hidden: 8,
        layers: 2,
        heads: 2,
        width: 5,
        direct: true,
    };

    fn object(x0: f32, class: usize) -> ObjectBox {
        ObjectBox {
            x0,
            y0: 0.25,
            x1: 0.875,
            y1: 0.5,
            class,
        }
    }

    fn tokens(boxes: Vec<ObjectBox>) -> Vec<f32> {
        let device = Device::flex();
        let encoder = BoxEncoder::new(&CONFIG, &Init::new(&device, 5));
        let batch = CONFIG.batch(&[boxes], &device).expect("valid boxes");
        let tokens = encoder.forward(batch);
        assert_eq!(tokens.dims(), [1, 3, 5]);
        tokens.into_data().try_to_vec().expect("f32")
    }

    #[test]
    fn of_too_many_boxes_the_smallest_are_left_out() {
        let boxes: Vec<_> = [0.5, 0.25, 0.75, 0.125].map(|x0| object(x0, 0)).into();
        let kept: Vec<f32> = CONFIG.largest(&boxes).iter().map(|one| one.x0).collect();
        assert_eq!(kept, [0.125, 0.25, 0.5]);
    }

    #[test]
    fn the_order_of_boxes_moves_tokens_and_nothing_else() {
        let one = tokens(vec![object(0.125, 0), object(0.5, 1)]);
        let other = tokens(vec![object(0.5, 1), object(0.125, 0)]);
        let swapped = [&one[5..10], &one[0..5], &one[10..15]].concat();
        for (a, b) in swapped.iter().zip(&other) {
            assert!((a - b).abs() < 1e-5, "{swapped:?} {other:?}");
        }
        assert!(one.iter().zip(&other).any(|(a, b)| (a - b).abs() > 1e-4));
    }

    #[test]
    fn class_place_and_absence_are_seen() {
        let base = tokens(vec![object(0.125, 0)]);
        for other in [vec![object(0.125, 1)], vec![object(0.25, 0)], vec![]] {
            assert_ne!(base, tokens(other));
        }
    }

    #[test]
    fn impossible_boxes_are_refused() {
        let check = |boxes: Vec<ObjectBox>, expected: &str| {
            let error = CONFIG.batch(&[boxes], &Device::flex()).expect_err(expected);
            assert!(error.to_string().contains(expected), "{error}");
        };
        check(vec![object(0.125, 0); 4], "at most 3");
        check(vec![object(0.125, 2)], "below 2");
        check(vec![object(0.9, 0)], "within 0 to 1");
        check(vec![object(f32::NAN, 0)], "within 0 to 1");
    }
}
