//! Guidance: moving a prediction away from its unconditional branch.
//!
//! # Source
//!
//! Blattmann et al. 2023 (arXiv:2304.08818), eq. 4 (classifier-free) and section 3.2 (context
//! guidance); Ho & Salimans 2022 (arXiv:2207.12598); Blattmann et al. 2023 (arXiv:2311.15127),
//! appendix D (linear over the frames).

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// How strongly, and away from what, a prediction is guided:
/// `f' = f(∅) + scale·(f(c) − f(∅))`.
///
/// The variants share this formula. They differ in the scale, and in which condition the branch
/// `f(∅)` goes without: that branch is the caller's to compute.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Guidance {
    /// The conditional prediction as it is; one network call. (The braces make serde refuse
    /// surplus keys here too.)
    None {},
    /// The same scale everywhere; `f(∅)` goes without text, labels and boxes.
    ClassifierFree {
        /// 1 changes nothing, more guides.
        scale: f64,
    },
    /// A scale that rises (or falls) linearly over the frames, as in Stable Video Diffusion;
    /// `f(∅)` goes without the image. A single frame gets `first`.
    PerFrame {
        /// Scale of the first frame.
        first: f64,
        /// Scale of the last frame.
        last: f64,
    },
    /// The paper's context guidance: `f(∅)` goes without the *given frames* (S = 0), while
    /// labels and text stay in both branches.
    Context {
        /// 1 changes nothing, more guides.
        scale: f64,
    },
}

impl Guidance {
    /// Whether the unconditional branch has any influence, and so has to be computed.
    #[must_use]
    pub fn needs_unconditional(&self) -> bool {
        match *self {
            Self::None {} => false,
            Self::ClassifierFree { scale } | Self::Context { scale } => scale != 1.0,
            Self::PerFrame { first, last } => first != 1.0 || last != 1.0,
        }
    }

    /// Calls of the network in each step: one, or two with the unconditional branch.
    #[must_use]
    pub fn branches(&self) -> usize {
        1 + usize::from(self.needs_unconditional())
    }

    /// The scale of each of `num_frames` frames.
    #[must_use]
    pub fn scales(&self, num_frames: usize) -> Vec<f64> {
        match *self {
            Self::None {} => vec![1.0; num_frames],
            Self::ClassifierFree { scale } | Self::Context { scale } => vec![scale; num_frames],
            Self::PerFrame { first, last } => {
                let intervals = num_frames.saturating_sub(1).max(1) as f64;
                let at = |frame| first + (last - first) * frame as f64 / intervals;
                (0..num_frames).map(at).collect()
            }
        }
    }

    /// Combines two predictions, or two clean estimates, of the same noisy latents.
    ///
    /// # Shapes
    /// - `unconditional`, `conditional`: `[batch, frames, channels, height, width]`
    /// - returns: the same
    #[must_use]
    pub fn combine(&self, unconditional: Tensor<5>, conditional: Tensor<5>) -> Tensor<5> {
        if !self.needs_unconditional() {
            return conditional;
        }
        let difference = conditional - unconditional.clone();
        let scaled = match *self {
            Self::ClassifierFree { scale } | Self::Context { scale } => {
                difference.mul_scalar(scale)
            }
            Self::None {} | Self::PerFrame { .. } => {
                let frames = difference.dims()[1];
                let options = (&difference.device(), difference.dtype());
                let scales = Tensor::<1>::from_data(self.scales(frames).as_slice(), options);
                difference * scales.reshape([1, frames, 1, 1, 1])
            }
        };
        unconditional + scaled
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn check(guidance: Guidance, expected: [f32; 3]) {
        let device = Device::flex();
        let unconditional = Tensor::<5>::full([1, 3, 1, 1, 1], 1.0, &device);
        let conditional = Tensor::<5>::full([1, 3, 1, 1, 1], 3.0, &device);
        let combined = guidance.combine(unconditional, conditional);
        assert_eq!(
            combined.into_data().try_to_vec::<f32>().expect("f32"),
            expected,
            "{guidance:?}"
        );
    }

    #[test]
    fn scales_as_documented() {
        check(Guidance::None {}, [3.0, 3.0, 3.0]);
        check(Guidance::ClassifierFree { scale: 1.0 }, [3.0, 3.0, 3.0]);
        check(Guidance::ClassifierFree { scale: 2.0 }, [5.0, 5.0, 5.0]);
        check(Guidance::Context { scale: 0.0 }, [1.0, 1.0, 1.0]);
        check(
            Guidance::PerFrame {
                first: 1.0,
                last: 3.0,
            },
            [3.0, 5.0, 7.0],
        );
    }

    #[test]
    fn a_single_frame_gets_the_first_scale() {
        assert_eq!(
            Guidance::PerFrame {
                first: 1.5,
                last: 3.0
            }
            .scales(1),
            [1.5]
        );
    }

    #[test]
    fn surplus_keys_are_refused() {
        let check = |text: &str| serde_json::from_str::<Guidance>(text).is_ok();
        assert!(check(r#"{"type": "none"}"#));
        assert!(!check(r#"{"type": "none", "scale": 2}"#));
        assert!(!check(r#"{"type": "context", "scale": 2, "first": 1}"#));
    }
}
