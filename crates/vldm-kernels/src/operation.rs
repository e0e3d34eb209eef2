//! What a fast body computes, and how it is differentiated.
//!
//! All operations go through one extension point, [`Kernels::compute`]: an [`Operation`] and up to
//! [`OPERANDS`] tensors. The gradient is written once, for any backend whose bodies are
//! [`Differentiable`].

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{DType, Device, Shape, Tensor};

use crate::cpu::activation::Kind;
use crate::cpu::attention::{AttentionSpec, Strides};
use crate::cpu::conv::Conv;
use crate::flops;
use crate::operands::Activation;

/// Most tensors an operation takes.
pub(crate) const OPERANDS: usize = 6;

/// An operation and everything about it that is not a tensor.
///
/// Operands that are absent are tensors without elements.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// `x`, second part of `x`, weight, bias, shift, residual.
    Conv(Conv),
    /// `x`, weight, bias.
    LinearGeglu(Conv),
    /// `x`, second part of `x`, weight, bias.
    GroupNorm {
        /// Samples and tokens per sample.
        rows: [usize; 2],
        /// Channels of both parts of `x`.
        channels: [usize; 2],
        /// Groups of channels.
        groups: usize,
        /// Added to the variance.
        eps: f32,
        /// What follows.
        activation: Activation,
    },
    /// `x`, weight, bias.
    LayerNorm {
        /// Added to the variance.
        eps: f32,
    },
    /// `q`, `k`, `v`.
    Attention {
        /// What it is over.
        spec: AttentionSpec,
        /// Where tokens of `q` and of the output lie.
        queries: Strides,
        /// Where tokens of `k` and `v` lie.
        keys: Strides,
    },
    /// `x`.
    Activation(Kind),
    /// Spatial branch, temporal branch, alpha.
    Mix {
        /// Samples, frames and elements of a frame.
        dims: [usize; 3],
    },
    /// `x`, shift.
    Shift {
        /// Samples, shifts per sample and elements that share a shift's row.
        dims: [usize; 3],
        /// Elements of a shift.
        channels: usize,
    },
    /// `x`.
    Upsample {
        /// Samples, height, width and channels of `x`.
        input: [usize; 4],
        /// Height and width of the output.
        size: [usize; 2],
    },
}

/// An operation and the shape of its output.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// What is computed.
    pub(crate) operation: Operation,
    /// Shape of the output.
    pub(crate) shape: Shape,
}

/// The extension point.
#[expect(
    clippy::too_many_arguments,
    reason = "tensors reach an extension as arguments of their own"
)]
#[backend_extension(Autodiff, Flex)]
pub(crate) trait Kernels: Backend {
    /// The output of `call` on its operands.
    fn compute(
        call: Call,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        f: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// What the gradient needs of the forward pass.
#[derive(Debug, Clone)]
pub(crate) struct Saved<T> {
    /// The operands that [`Call::keeps`] names.
    pub(crate) operands: [Option<T>; OPERANDS],
    /// Shape and type of every operand, kept or not.
    pub(crate) kinds: [(Shape, DType); OPERANDS],
    /// The output and what else the body computed on the way, if the operation keeps any.
    pub(crate) extra: Vec<T>,
}

/// Bodies with a gradient.
pub(crate) trait Differentiable: Kernels {
    /// The output, and what the gradient needs besides the operands.
    fn compute_saving(
        call: &Call,
        operands: [FloatTensor<Self>; OPERANDS],
    ) -> (FloatTensor<Self>, Vec<FloatTensor<Self>>);

    /// The gradients of the operands in `needed`, given that of the output.
    fn gradients(
        call: &Call,
        saved: Saved<FloatTensor<Self>>,
        gradient: FloatTensor<Self>,
        needed: [bool; OPERANDS],
    ) -> [Option<FloatTensor<Self>>; OPERANDS];
}

impl Call {
    /// Computes on tensors; absent operands are `None`.
    pub(crate) fn apply<const D: usize>(
        self,
        device: &Device,
        dtype: DType,
        operands: [Option<burn::backend::DispatchTensor>; OPERANDS],
    ) -> Tensor<D> {
        let _flops = flops::record(|| self.flops());
        let [a, b, c, d, e, f] = operands.map(|operand| {
            operand.unwrap_or_else(|| Tensor::<1>::empty([0], (device, dtype)).into_dispatch())
        });
        Tensor::from_dispatch(Dispatch::compute(self, a, b, c, d, e, f))
    }

    /// Operations of the forward pass that count ([`flops`]).
    fn flops(&self) -> u64 {
        match &self.operation {
            Operation::Conv(conv) | Operation::LinearGeglu(conv) => {
                let channels = [conv.inputs.iter().sum(), conv.outputs];
                flops::convolution(conv.positions(), conv.taps(), channels)
            }
            Operation::Attention { spec, .. } => {
                let sequences: usize = spec.sequences.iter().product();
                flops::attention(sequences * spec.queries * spec.keys, spec.heads * spec.dim)
            }
            _ => 0,
        }
    }

    /// The operands that the gradients of those in `needed` depend on: what is frozen holds on
    /// to no activation.
    fn keeps(&self, needed: [bool; OPERANDS]) -> [bool; OPERANDS] {
        let any = needed.contains(&true);
        match &self.operation {
            Operation::Conv(_) => {
                let [x, second, weight, ..] = needed;
                [weight, weight, x || second, false, false, false]
            }
            Operation::LinearGeglu(_) => {
                let [x, weight, ..] = needed;
                [weight, x, false, false, false, false]
            }
            Operation::GroupNorm { .. } => [any, any, any, any, false, false],
            Operation::LayerNorm { .. } => [any, any, any, false, false, false],
            Operation::Attention { .. } => [any, any, any, false, false, false],
            Operation::Activation(_) => [any, false, false, false, false, false],
            Operation::Mix { .. } => [any, any, any, false, false, false],
            Operation::Shift { .. } | Operation::Upsample { .. } => [false; OPERANDS],
        }
    }
}

impl<B: Differentiable, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    fn compute(
        call: Call,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        f: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let operands = [a, b, c, d, e, f];
        let needed = operands.each_ref().map(|operand| operand.is_tracked());
        let nodes = operands.each_ref().map(|operand| operand.node());
        let operands = operands.map(|operand| operand.into_primitive());
        match Gradient.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(prep) => {
                let [a, b, c, d, e, f] = operands;
                prep.finish(B::compute(call, a, b, c, d, e, f))
            }
            OpsKind::Tracked(prep) => {
                let keeps = call.keeps(needed);
                let kinds = operands
                    .each_ref()
                    .map(|operand| (operand.shape(), operand.dtype()));
                let mut kept = operands.each_ref().map(|operand| Some(operand.clone()));
                for (kept, keeps) in kept.iter_mut().zip(keeps) {
                    kept.take_if(|_| !keeps);
                }
                let (output, extra) = B::compute_saving(&call, operands);
                let saved = Saved {
                    operands: kept,
                    kinds,
                    extra,
                };
                prep.finish(Box::new((call, saved)), output)
            }
        }
    }
}

/// The backward step of every operation.
#[derive(Debug)]
struct Gradient;

impl<B: Differentiable> Backward<B, OPERANDS> for Gradient {
    /// On the heap: it is moved often before it is read once.
    type State = Box<(Call, Saved<FloatTensor<B>>)>;

    fn backward(
        self,
        ops: Ops<Self::State, OPERANDS>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let (call, saved) = *ops.state;
        let needed = ops.parents.each_ref().map(Option::is_some);
        let gradients = B::gradients(&call, saved, gradient, needed);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}
