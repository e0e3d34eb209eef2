//! LPIPS as a loss on decoded frames.

use std::path::PathBuf;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::adversarial::by_pixels;
use super::networks::Networks;
use crate::error::{Error, Result};
use crate::perceptual::Perceptual;

/// Frames that are compared together: the features of one are many times its size.
const COMPARED_AT_ONCE: usize = 4;

/// How different decoded frames look from the true ones: [`Perceptual`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerceptualLoss {
    /// The network's weights, a safetensors file: [`Perceptual::load`].
    pub weights: PathBuf,
    /// Weight of the mean over all frames.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

impl PerceptualLoss {
    /// Checks the weight, and that pictures of these sizes, `[height, width]`, and of so many
    /// channels can be compared.
    pub(super) fn check(&self, sizes: &[[u32; 2]], channels: usize) -> Result<()> {
        let fail = |message: String| Err(Error::Config(message));
        if !(self.weight.is_finite() && self.weight > 0.0) {
            return fail(format!(
                "adversarial.perceptual.weight is {}, expected a number above 0",
                self.weight
            ));
        }
        if channels != 3 {
            return fail(format!(
                "adversarial.perceptual compares pictures of 3 channels, the model's have {channels}"
            ));
        }
        let least = Perceptual::MIN_SIDE as u32;
        match sizes.iter().flatten().find(|&&side| side < least) {
            None => Ok(()),
            Some(side) => fail(format!(
                "adversarial.perceptual compares pictures of at least {least}x{least} pixels, \
                 batch.sizes has {side}"
            )),
        }
    }

    /// The mean distance of frames, made and true, and its derivative by the made ones.
    ///
    /// # Shapes
    /// - both: `[frames, height, width, 3]`
    pub(super) fn loss(
        &self,
        networks: &Networks,
        [made, truth]: [&Tensor<4>; 2],
    ) -> Result<(f64, Tensor<4>)> {
        let network = networks.perceptual.as_ref().ok_or_else(|| {
            Error::Config("adversarial.perceptual needs its network, which was not loaded".into())
        })?;
        let frames = made.dims()[0] as f64;
        let made = made.clone().split(COMPARED_AT_ONCE, 0);
        let truth = truth.clone().split(COMPARED_AT_ONCE, 0);
        let mut distance = 0.0;
        let mut derivatives = Vec::with_capacity(made.len());
        for (made, truth) in made.into_iter().zip(truth) {
            let distances = |made| network.forward(made, truth.autodiff());
            let (sum, derivative) = by_pixels(made, |made| distances(made).sum());
            distance += sum / frames;
            derivatives.push(derivative / frames);
        }
        Ok((distance, Tensor::cat(derivatives, 0)))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::train::{Event, Recipe, Run};

    const WEIGHTS: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/perceptual/weights.safetensors"
    );

    fn recipe(stage: &str, model: &str, more: &str) -> String {
        format!(
            r#"
stage = "{stage}"
steps = 3
[model]
base = "{model}"
[data]
type = "world"
clips = 2
seconds = 1.0
[batch]
size = 1
sizes = [[32, 64]]
frames = [3]
fps = [7.5]
[adversarial]
adversarial_after = 1
adaptive = false
[adversarial.perceptual]
weights = '{WEIGHTS}'
{more}
"#
        )
    }

    fn run(text: &str) -> Result<Vec<Event>> {
        let out = tempfile::tempdir().unwrap();
        let recipe = Recipe::parse(text)?;
        Run::start(recipe, &out.path().join("run"), &Device::flex())?.collect()
    }

    #[test]
    fn a_run_descends_the_distance_and_leaves_its_network_alone() {
        for (stage, model) in [
            ("autoencoder", "tiny-sd15"),
            ("decoder", "tiny-temporal-decoder-3x3x3"),
        ] {
            let steps = run(&recipe(stage, model, "weight = 0.5")).unwrap();
            // Three steps and a checkpoint, which is not written if anything frozen has moved.
            assert_eq!(steps.len(), 4, "{stage}");
            for event in &steps[..3] {
                let Event::Step(step) = event else {
                    panic!("{event:?}");
                };
                assert!(!step.parts.contains_key("pyramid"));
                let part = |name: &str| step.parts.get(name).copied().unwrap_or_default();
                let sum = part("l1")
                    + 0.5 * part("lpips")
                    + 1e-6 * part("kl") / 6144.0
                    + 0.5 * part("generator");
                assert!(part("lpips") > 0.0, "{step:?}");
                assert!(
                    (step.loss - sum).abs() < 1e-5 * sum.abs().max(1.0),
                    "{step:?}"
                );
            }
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_mean_over_frames() {
        let device = Device::flex();
        let networks = Networks {
            perceptual: Some(Perceptual::load(WEIGHTS.as_ref(), &device).unwrap()),
            ..Networks::none()
        };
        let config = PerceptualLoss {
            weights: WEIGHTS.into(),
            weight: 1.0,
        };
        // More frames than are compared together.
        let wave = |seed: usize| {
            let values: Vec<f32> = (0..5 * 16 * 20 * 3)
                .map(|index| ((index * (7 + seed) % 97) as f32 / 48.0) - 1.0)
                .collect();
            Tensor::<1>::from_floats(values.as_slice(), &device).reshape([5, 16, 20, 3])
        };
        let (made, truth) = (wave(0), wave(6));
        let (distance, derivative) = config.loss(&networks, [&made, &truth]).unwrap();
        let network = networks.perceptual.as_ref().unwrap();
        let (expected, by_whole) =
            by_pixels(made, |made| network.forward(made, truth.autodiff()).mean());
        assert!((distance - expected).abs() < 1e-6 * expected, "{distance}");
        let off: f32 = (derivative - by_whole.clone()).abs().max().into_scalar();
        let largest: f32 = by_whole.abs().max().into_scalar();
        assert!(off < 1e-5 * largest, "{off} of {largest}");
    }

    #[test]
    fn what_cannot_be_compared_is_told() {
        let check = |text: &str, expected: &str| {
            let error = run(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let text = recipe("autoencoder", "tiny-sd15", "");
        check(
            &text.replace("[32, 64]", "[8, 64]"),
            "at least 16x16 pixels, batch.sizes has 8",
        );
        check(
            &format!("{text}weight = 0.0"),
            "weight is 0, expected a number above 0",
        );
        check(
            &text.replace("weights.safe", "none.safe"),
            "none.safetensors",
        );
        check(
            &text.replace("weights.safe", "case.safe"),
            "found no `features.0.weight`",
        );
    }
}
