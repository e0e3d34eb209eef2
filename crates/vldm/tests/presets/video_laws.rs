//! What must hold of a video network, whatever its parameters.
//!
//! Blattmann et al. 2023, section 3.1 and appendix D.

use burn::tensor::{Device, Tensor};
use vldm::nn::Init;
use vldm::nn::temporal::{
    AlphaConfig, TemporalContext, TemporalStart, TemporalTransformer, TemporalTransformerConfig,
};
use vldm::unet::{TemporalConfig, TemporalLayers, UNet, UNetConfig, UNetInput, Vector};

use crate::common::{distance, finite, noise, preset, shaken, with_alpha};

/// A tiny U-Net and what it is asked.
struct Case {
    config: UNetConfig,
    unet: UNet,
    batch: usize,
    frames: usize,
    sample: Tensor<4>,
    context: Tensor<3>,
}

impl Case {
    fn new(batch: usize, frames: usize, size: [usize; 2]) -> Self {
        let config = preset("tiny-sd15-video").unet.expect("a U-Net");
        Self {
            unet: UNet::new(&config, &Init::new(&Device::flex(), 3)),
            config,
            batch,
            frames,
            sample: noise([batch * frames, size[0], size[1], 4], 11),
            context: noise([batch, 5, 16], 12),
        }
    }

    /// Temporal layers of which nothing is zero, or fresh ones with `start`.
    fn layers(&self, alpha: AlphaConfig, start: TemporalStart) -> TemporalLayers {
        let config = TemporalConfig {
            context_width: Some(16),
            observed: None,
            positions: true,
            alpha,
            start,
        };
        TemporalLayers::new(&self.config, &config, &Init::new(&Device::flex(), 4))
    }

    fn shaken_layers(&self) -> TemporalLayers {
        shaken(self.layers(AlphaConfig::Scalar, TemporalStart::Svd), 0.1)
    }

    fn input(&self) -> UNetInput {
        let timesteps: Vec<f32> = (0..self.batch).map(|i| 400.0 - 100.0 * i as f32).collect();
        UNetInput {
            sample: self.sample.clone(),
            timestep: Tensor::from_floats(timesteps.as_slice(), &Device::flex()),
            context: Some(self.context.clone()),
            vector: Vector::None,
        }
    }

    fn time(&self) -> TemporalContext {
        TemporalContext {
            frames: self.frames,
            first_frame: 0,
            tokens: Some(self.context.clone()),
            max_distance: None,
            observed: None,
        }
    }

    fn image(&self) -> Tensor<4> {
        self.unet.forward(self.input())
    }

    fn video(&self, layers: &TemporalLayers) -> Tensor<4> {
        self.unet.forward_video(self.input(), layers, &self.time())
    }
}

#[test]
fn image_mode_is_the_image_model_bit_for_bit() {
    let case = Case::new(2, 3, [8, 8]);
    let layers = case.shaken_layers();
    let mut state = case.unet.begin(case.input());
    for step in case.unet.steps(Some(&layers)) {
        state = step.forward(state, None);
    }
    let skipped = case.unet.end(state);
    assert_eq!(skipped.into_data(), case.image().into_data());
    assert!(distance(&case.video(&layers), &case.image()) > 1e-3);
}

#[test]
fn alpha_of_one_is_image_mode() {
    let case = Case::new(2, 3, [8, 8]);
    let layers = with_alpha(case.shaken_layers(), &[100.0]);
    let difference = distance(&case.video(&layers), &case.image());
    assert!(difference <= 1e-6, "{difference}");
}

#[test]
fn fresh_layers_with_the_identity_start_change_nothing() {
    let case = Case::new(2, 3, [8, 8]);
    let layers = case.layers(AlphaConfig::Scalar, TemporalStart::Identity);
    let difference = distance(&case.video(&layers), &case.image());
    assert!(difference <= 1e-5, "{difference}");
}

#[test]
fn clips_of_a_batch_do_not_know_of_each_other() {
    let case = Case::new(2, 3, [8, 8]);
    let layers = case.shaken_layers();
    let both = case.video(&layers);
    let input = case.input();
    let swap3 = |x: Tensor<3>| Tensor::cat(vec![x.clone().narrow(0, 1, 1), x.narrow(0, 0, 1)], 0);
    let swap4 = |x: Tensor<4>| Tensor::cat(vec![x.clone().narrow(0, 3, 3), x.narrow(0, 0, 3)], 0);
    let swapped = UNetInput {
        sample: swap4(input.sample),
        timestep: input.timestep.flip([0]),
        context: input.context.map(swap3),
        vector: Vector::None,
    };
    let time = TemporalContext {
        tokens: case.time().tokens.map(swap3),
        ..case.time()
    };
    let other = case.unet.forward_video(swapped, &layers, &time);
    assert_eq!(swap4(other).into_data(), both.into_data());
}

#[test]
fn one_frame_and_odd_sizes_work() {
    for (frames, size) in [(1, [8, 8]), (3, [7, 5]), (2, [1, 3])] {
        let case = Case::new(1, frames, size);
        let output = case.video(&case.shaken_layers());
        assert_eq!(output.dims(), [frames, size[0], size[1], 4]);
        finite(&output, "video");
    }
}

#[test]
fn one_alpha_per_frame_generalises_one_for_all() {
    let case = Case::new(2, 3, [8, 8]);
    let fresh = |alpha| case.layers(alpha, TemporalStart::Svd);
    let shake = |layers| shaken(layers, 0.1);
    let scalar = with_alpha(shake(fresh(AlphaConfig::Scalar)), &[0.3]);
    let per_frame = shake(fresh(AlphaConfig::PerFrame { frames: 3 }));
    let equal = with_alpha(per_frame.clone(), &[0.3; 3]);
    let difference = distance(&case.video(&scalar), &case.video(&equal));
    assert!(difference <= 1e-6, "{difference}");

    let unequal = with_alpha(per_frame, &[0.3, 3.0, -3.0]);
    let output = case.video(&unequal);
    finite(&output, "one alpha per frame");
    assert!(distance(&output, &case.video(&scalar)) > 1e-3);
}

#[test]
fn spatial_and_temporal_layers_may_read_different_texts() {
    let case = Case::new(1, 3, [8, 8]);
    let layers = case.shaken_layers();
    let time = TemporalContext {
        tokens: Some(noise([1, 7, 16], 13)),
        ..case.time()
    };
    let other = case.unet.forward_video(case.input(), &layers, &time);
    assert!(distance(&other, &case.video(&layers)) > 1e-4);
}

/// Only attention is limited; normalisation and convolution still reach over the clip. So the law
/// is one of the temporal transformer.
#[test]
fn attention_does_not_reach_beyond_its_distance() {
    let config = TemporalTransformerConfig {
        channels: 8,
        heads: 2,
        head_channels: 4,
        blocks: 1,
        context: None,
        self_attention: true,
        positions: true,
        alpha: AlphaConfig::Scalar,
        start: TemporalStart::Svd,
    };
    let layer = TemporalTransformer::new(config, &Init::new(&Device::flex(), 6));
    let frames = 9;
    let tokens = noise([frames, 4, 8], 14);
    let changed = Tensor::cat(
        vec![
            noise([1, 4, 8], 15),
            tokens.clone().narrow(0, 1, frames - 1),
        ],
        0,
    );
    let run = |tokens: &Tensor<3>, max_distance| {
        let time = TemporalContext {
            frames,
            first_frame: 0,
            tokens: None,
            max_distance,
            observed: None,
        };
        layer.forward(0, tokens.clone(), &time)
    };
    let influence = |max_distance| -> Vec<f32> {
        let (a, b) = (run(&tokens, max_distance), run(&changed, max_distance));
        (0..frames)
            .map(|frame| {
                distance(
                    &a.clone().narrow(0, frame, 1),
                    &b.clone().narrow(0, frame, 1),
                )
            })
            .collect()
    };
    let limited = influence(Some(2));
    assert!(limited[..3].iter().all(|x| *x > 1e-5), "{limited:?}");
    assert!(limited[3..].iter().all(|x| *x == 0.0), "{limited:?}");
    let unlimited = influence(None);
    assert!(unlimited.iter().all(|x| *x > 1e-6), "{unlimited:?}");
    let same = distance(&run(&tokens, Some(frames - 1)), &run(&tokens, None));
    assert!(same <= 1e-6, "{same}");
}

#[test]
fn a_window_may_start_anywhere() {
    let case = Case::new(1, 3, [8, 8]);
    let layers = case.shaken_layers();
    let time = TemporalContext {
        first_frame: 40,
        ..case.time()
    };
    let later = case.unet.forward_video(case.input(), &layers, &time);
    finite(&later, "a later window");
    assert!(distance(&later, &case.video(&layers)) > 1e-5);
}
