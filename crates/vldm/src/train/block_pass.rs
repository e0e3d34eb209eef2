//! A pass that keeps no activations but those between the blocks of the U-Net: activation
//! checkpointing.
//!
//! The network is walked forwards without a way back for gradients, keeping what each block reads.
//! Then it is walked backwards: a block runs once more, now with a way back, hands its gradients to
//! what it read, and is forgotten before the one before it. So the activations of one block are
//! held at a time, for one forward pass more. The loss is the same bits as that of the plain pass;
//! gradients differ in the order in which those of a tensor with several readers are added.
//!
//! # Source
//! Chen et al. 2016 (arXiv:1604.06174), section 4.

use std::collections::BTreeMap;

use burn::tensor::{DType, Gradients, Tensor};

use super::denoising::{Prediction, training_input, unet_of};
use super::example::Example;
use super::networks::Networks;
use super::parameters::{Reading, take_sums};
use super::pass::Pass;
use crate::diffusion::Preconditioning;
use crate::error::Result;
use crate::nn::temporal::TemporalContext;
use crate::unet::{Step, StepLayers, UNet, UNetState};

/// As [`denoising_pass`](super::denoising_pass), with the activations of one block of the U-Net at
/// a time. Encoders of conditions and the first convolution keep theirs.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) when the example needs a network that is not there.
pub fn block_pass(
    networks: &Networks,
    preconditioning: &Preconditioning,
    example: Example,
    (dtype, share): (DType, f64),
) -> Result<Pass> {
    let unet = unet_of(networks)?;
    let example = example.tracked();
    let tracked = Reading {
        tracked: true,
        ..networks.reading(Some(dtype))
    };
    let front = front(networks, tracked);
    let (input, time) = training_input(&front, preconditioning, &example)?;
    let begun = unet_of(&front)?.begin(input);
    let walk = Walk::forwards(unet, networks, (begun, time), tracked);

    let end = Leaf::new(&walk.last.features, true);
    let output = tail(unet, tracked).end(UNetState {
        features: end.0.clone(),
        ..walk.last.clone()
    });
    let prediction = Prediction::new(output, preconditioning, &example);
    let (loss, derivative) = prediction.loss();
    let mut backwards = Backwards::default();
    backwards.descend([product(prediction.output, derivative * share)]);
    backwards.features = backwards.take(&end);
    walk.backwards(&mut backwards);
    Ok(Pass {
        loss,
        parts: BTreeMap::new(),
        gradients: take_sums(networks, &mut backwards.found),
    })
}

/// What makes the state before the first block, ready to be run; the rest is only looked at.
fn front(networks: &Networks, reading: Reading) -> Networks {
    let mut unet = networks.unet.clone();
    if let Some(unet) = &mut unet {
        unet.conv_in = reading.read(unet.conv_in.clone());
        unet.time_embedding = reading.read(unet.time_embedding.clone());
        unet.class_embedding = reading.read(unet.class_embedding.take());
        unet.add_embedding = reading.read(unet.add_embedding.take());
    }
    Networks {
        unet,
        temporal: networks.temporal.clone(),
        conditions: reading.read(networks.conditions.clone()),
        text_encoder: reading.read(networks.text_encoder.clone()),
        ..Networks::none()
    }
}

/// What makes the prediction of the state after the last block.
fn tail(unet: &UNet, reading: Reading) -> UNet {
    let mut unet = unet.clone();
    unet.conv_norm_out = reading.read(unet.conv_norm_out);
    unet.conv_out = reading.read(unet.conv_out);
    unet
}

/// A tensor cut off from what it was computed from; its gradient can be asked for.
struct Leaf<const D: usize>(Tensor<D>);

impl<const D: usize> Leaf<D> {
    fn new(tensor: &Tensor<D>, tracked: bool) -> Self {
        let tensor = tensor.clone().without_autodiff().autodiff();
        Self(match tracked {
            true => tensor.require_grad(),
            false => tensor,
        })
    }
}

/// One block as the walk back finds it.
struct Stop<'a> {
    step: Step<'a>,
    /// What the block read.
    before: UNetState,
    /// Whether anything that made `before.features` learns, and so for the kept features that
    /// the block reads.
    wanted: [bool; 2],
    /// Whether the block or anything it reads learns.
    active: bool,
}

/// The network once run, without a way back through its blocks.
struct Walk<'a> {
    stops: Vec<Stop<'a>>,
    /// With a way back through the encoders and the first convolution.
    begun: UNetState,
    time: Option<TemporalContext>,
    last: UNetState,
    tracked: Reading<'a>,
}

impl<'a> Walk<'a> {
    fn forwards(
        unet: &'a UNet,
        networks: &'a Networks,
        (begun, time): (UNetState, Option<TemporalContext>),
        tracked: Reading<'a>,
    ) -> Self {
        let reading = Reading {
            tracked: false,
            ..tracked
        };
        let cut_time = time.clone().map(|time| TemporalContext {
            tokens: time.tokens.map(|tokens| Leaf::new(&tokens, false).0),
            ..time
        });
        let conditioned = begun.embedding.is_tracked()
            || begun.context.as_ref().is_some_and(Tensor::is_tracked)
            || tokens(time.as_ref()).is_some_and(Tensor::is_tracked);
        let mut state = UNetState {
            features: Leaf::new(&begun.features, false).0,
            skips: vec![Leaf::new(&begun.features, false).0],
            embedding: Leaf::new(&begun.embedding, false).0,
            context: begun
                .context
                .as_ref()
                .map(|context| Leaf::new(context, false).0),
        };
        let mut made_by_learners = begun.features.is_tracked();
        let mut kept = vec![made_by_learners];
        let mut stops = Vec::new();
        for step in unet.steps(networks.temporal.as_ref()) {
            let layers = StepLayers::of(&step);
            let active = conditioned || tracked.learns(&layers);
            let wanted = [
                made_by_learners,
                step.reads_kept() && kept.pop().unwrap_or(false),
            ];
            made_by_learners |= active || wanted[1];
            if step.keeps_result() {
                kept.push(made_by_learners);
            }
            let layers = reading.read(layers);
            let before = state.clone();
            state = layers.step(&step).forward(state, cut_time.as_ref());
            stops.push(Stop {
                step,
                before,
                wanted,
                active,
            });
        }
        Self {
            stops,
            begun,
            time,
            last: state,
            tracked,
        }
    }

    /// Goes back to the first block that learns, and through what came before the blocks.
    fn backwards(self, gradients: &mut Backwards) {
        let Self {
            mut stops,
            begun,
            time,
            last,
            tracked,
        } = self;
        drop(last);
        let conditioning = Conditioning::new(&begun, time.as_ref());
        while let Some(stop) = stops.pop() {
            let first = !stop.active && stop.wanted == [false; 2];
            if first || gradients.features.is_none() {
                break;
            }
            stop.backwards((&conditioning, time.as_ref()), tracked, gradients);
        }
        let mut roots = Vec::new();
        if begun.features.is_tracked() {
            let kept = gradients.kept.pop().flatten();
            let sum = sum(gradients.features.take(), kept);
            roots.extend(sum.map(|gradient| product(begun.features, gradient)));
        }
        let embedding = gradients.embedding.take();
        roots.extend(embedding.map(|gradient| product(begun.embedding, gradient)));
        let context = begun.context.zip(gradients.context.take());
        roots.extend(context.map(|(context, gradient)| product(context, gradient)));
        let tokens = time.and_then(|time| time.tokens);
        let tokens = tokens.zip(gradients.tokens.take());
        roots.extend(tokens.map(|(tokens, gradient)| product(tokens, gradient)));
        gradients.descend(roots);
    }
}

/// What every block reads beside its features.
struct Conditioning {
    embedding: Leaf<2>,
    context: Option<Leaf<3>>,
    tokens: Option<Leaf<3>>,
}

impl Conditioning {
    fn new(begun: &UNetState, time: Option<&TemporalContext>) -> Self {
        let leaf = |tokens: &Tensor<3>| Leaf::new(tokens, tokens.is_tracked());
        Self {
            embedding: Leaf::new(&begun.embedding, begun.embedding.is_tracked()),
            context: begun.context.as_ref().map(leaf),
            tokens: tokens(time).map(leaf),
        }
    }
}

impl Stop<'_> {
    /// Runs the block again and takes the gradients of everything that learns in it or before it.
    fn backwards(
        self,
        (conditioning, time): (&Conditioning, Option<&TemporalContext>),
        tracked: Reading,
        gradients: &mut Backwards,
    ) {
        let layers = tracked.read(StepLayers::of(&self.step));
        let features = Leaf::new(&self.before.features, self.wanted[0]);
        let mut skips = self.before.skips;
        let kept = match self.step.reads_kept() {
            true => skips.pop().map(|kept| Leaf::new(&kept, self.wanted[1])),
            false => None,
        };
        skips.extend(kept.as_ref().map(|kept| kept.0.clone()));
        let state = UNetState {
            features: features.0.clone(),
            skips,
            embedding: conditioning.embedding.0.clone(),
            context: conditioning.context.as_ref().map(|leaf| leaf.0.clone()),
        };
        let time = time.cloned().map(|time| TemporalContext {
            tokens: conditioning.tokens.as_ref().map(|leaf| leaf.0.clone()),
            ..time
        });
        let after = layers.step(&self.step).forward(state, time.as_ref());
        let gradient = match self.step.keeps_result() {
            true => {
                let kept = gradients.kept.pop().flatten();
                sum(gradients.features.take(), kept)
            }
            false => gradients.features.take(),
        };
        let made = after.features;
        let root = gradient.map(|gradient| product(made, gradient));
        gradients.descend(root);
        gradients.features = gradients.take(&features);
        if let Some(kept) = kept {
            let gradient = gradients.take(&kept);
            gradients.kept.push(gradient);
        }
        gradients.take_conditioning(conditioning);
    }
}

/// Gradients on the way back.
#[derive(Default)]
struct Backwards {
    /// Of the parameters, block by block.
    found: Vec<Gradients>,
    /// Of the features that the last visited block read.
    features: Option<Tensor<4>>,
    /// Of kept features, those kept last at the end.
    kept: Vec<Option<Tensor<4>>>,
    embedding: Option<Tensor<2>>,
    context: Option<Tensor<3>>,
    tokens: Option<Tensor<3>>,
}

impl Backwards {
    /// The gradients of a sum of roots.
    fn descend(&mut self, roots: impl IntoIterator<Item = Tensor<1>>) {
        let roots = roots.into_iter().filter(Tensor::is_tracked);
        if let Some(root) = roots.reduce(|sum, root| sum + root) {
            self.found.push(root.backward());
        }
    }

    /// What the last descent found for a leaf.
    fn take<const D: usize>(&mut self, leaf: &Leaf<D>) -> Option<Tensor<D>> {
        leaf.0.grad_remove(self.found.last_mut()?)
    }

    fn take_conditioning(&mut self, conditioning: &Conditioning) {
        let embedding = self.take(&conditioning.embedding);
        self.embedding = sum(self.embedding.take(), embedding);
        if let Some(leaf) = &conditioning.context {
            let context = self.take(leaf);
            self.context = sum(self.context.take(), context);
        }
        if let Some(leaf) = &conditioning.tokens {
            let tokens = self.take(leaf);
            self.tokens = sum(self.tokens.take(), tokens);
        }
    }
}

/// A number whose gradient by `output` is `gradient`.
fn product<const D: usize>(output: Tensor<D>, gradient: Tensor<D>) -> Tensor<1> {
    (output * gradient.without_autodiff().autodiff()).sum()
}

fn sum<const D: usize>(a: Option<Tensor<D>>, b: Option<Tensor<D>>) -> Option<Tensor<D>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

fn tokens(time: Option<&TemporalContext>) -> Option<&Tensor<3>> {
    time.and_then(|time| time.tokens.as_ref())
}
