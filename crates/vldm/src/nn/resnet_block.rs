//! The residual block of every network here.

use burn::module::Module;
use burn::tensor::Tensor;
use vldm_kernels::{Activation, Channels, Epilogue};

use super::{Conv2d, GroupNorm, Init, Linear};

/// The sizes of a [`ResnetBlock`].
#[derive(Debug, Clone, Copy)]
pub struct ResnetBlockConfig {
    /// Channels in; of both inputs together where a skip connection is read.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// Width of the noise-level embedding; `None` in an autoencoder.
    pub embedding: Option<usize>,
    /// Groups of the normalisations.
    pub groups: usize,
    /// Added to the variance in the normalisations.
    pub eps: f64,
}

/// norm → SiLU → conv → + embedding → norm → SiLU → conv → + input.
///
/// # Source
/// Ho et al. 2020 (arXiv:2006.11239), appendix B, as in latent diffusion.
#[derive(Module, Debug)]
pub struct ResnetBlock {
    /// Normalises the input.
    pub norm1: GroupNorm,
    /// 3×3, `inputs → outputs`.
    pub conv1: Conv2d,
    /// The noise level's part, one value per channel.
    pub time_emb_proj: Option<Linear>,
    /// Normalises between the convolutions.
    pub norm2: GroupNorm,
    /// 3×3, `outputs → outputs`.
    pub conv2: Conv2d,
    /// 1×1 on the residual path where the number of channels changes.
    pub conv_shortcut: Option<Conv2d>,
}

impl ResnetBlock {
    /// A block with fresh parameters.
    pub fn new(config: ResnetBlockConfig, init: &Init) -> Self {
        let ResnetBlockConfig {
            inputs,
            outputs,
            embedding,
            groups,
            eps,
        } = config;
        Self {
            norm1: GroupNorm::new(groups, inputs, eps, init),
            conv1: Conv2d::new(inputs, outputs, 3, init),
            time_emb_proj: embedding.map(|width| Linear::new(width, outputs, true, init)),
            norm2: GroupNorm::new(groups, outputs, eps, init),
            conv2: Conv2d::new(outputs, outputs, 3, init),
            conv_shortcut: (inputs != outputs).then(|| Conv2d::new(inputs, outputs, 1, init)),
        }
    }

    /// # Shapes
    /// - `x`: `[n, height, width, inputs]`, one tensor or two read as one
    /// - `embedding`: `[n, width]`, already through its SiLU
    /// - returns: `[n, height, width, outputs]`
    pub fn forward(&self, x: impl Into<Channels<4>>, embedding: Option<Tensor<2>>) -> Tensor<4> {
        let x = x.into();
        let shift = match (&self.time_emb_proj, embedding) {
            (Some(projection), Some(embedding)) => Some(projection.forward(embedding)),
            _ => None,
        };
        let hidden = self.norm1.forward_image(x.clone(), Activation::Silu);
        let hidden = self.conv1.forward_with(
            hidden,
            Epilogue {
                shift,
                residual: None,
            },
        );
        let hidden = self.norm2.forward_image(hidden, Activation::Silu);
        let residual = match &self.conv_shortcut {
            Some(shortcut) => shortcut.forward(x),
            None => x.joined(),
        };
        let epilogue = Epilogue {
            shift: None,
            residual: Some(residual),
        };
        self.conv2.forward_with(hidden, epilogue)
    }
}
