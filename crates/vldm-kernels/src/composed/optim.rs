//! The optimiser's arithmetic on flat tensors.

use burn::tensor::{DType, Element, Tensor};

use crate::operands::{AdamW, AdamWStep, Ema, Moments};

/// One AdamW step with decoupled weight decay, as PyTorch's `torch.optim.AdamW` does it.
///
/// Returns the new parameter; `moments` and the average in `ema` are replaced by their new
/// values. The average sees the new parameter.
///
/// # Shapes
/// - `parameter`, `gradient`, both moments, the average, returns: `[elements]`
///
/// # Source
/// Loshchilov and Hutter 2019 (arXiv:1711.05101), algorithm 2.
pub fn adamw(
    parameter: Tensor<1>,
    gradient: Tensor<1>,
    moments: &mut Moments,
    ema: Option<&mut Ema>,
    step: AdamWStep,
) -> Tensor<1> {
    let [elements] = parameter.dims();
    debug_assert_shape!("gradient", gradient, [elements]);
    debug_assert_shape!("moments.first", moments.first, [elements]);
    debug_assert_shape!("moments.second", moments.second, [elements]);
    debug_assert!(step.number > 0, "adamw: the first step has number 1");
    let AdamW {
        learning_rate,
        beta1,
        beta2,
        epsilon,
        weight_decay,
    } = step.config;
    let gradient = if step.gradient_scale == 1.0 {
        gradient
    } else {
        gradient.mul_scalar(step.gradient_scale)
    };
    let squared = gradient.clone() * gradient.clone();
    let first = moments.first.clone().mul_scalar(beta1) + gradient.mul_scalar(1.0 - beta1);
    let second = moments.second.clone().mul_scalar(beta2) + squared.mul_scalar(1.0 - beta2);
    let number = step.number as f64;
    let step_size = learning_rate / (1.0 - beta1.powf(number));
    let correction = (1.0 - beta2.powf(number)).sqrt();
    let denominator = second
        .clone()
        .sqrt()
        .div_scalar(correction)
        .add_scalar(epsilon);
    let decayed = parameter.mul_scalar(1.0 - learning_rate * weight_decay);
    let parameter = decayed - (first.clone() / denominator).mul_scalar(step_size);
    *moments = Moments { first, second };
    if let Some(ema) = ema {
        debug_assert_shape!("ema.average", ema.average, [elements]);
        let difference = parameter.clone() - ema.average.clone();
        ema.average = ema.average.clone() + difference.mul_scalar(1.0 - ema.decay);
    }
    parameter
}

/// Elements summed in one run before the sums of runs are added pairwise.
const RUN: usize = 1 << 14;

/// Running sums inside a run: independent additions, so that they need not wait for each other.
const LANES: usize = 8;

/// Sum of the squares of all elements, in f64.
///
/// The order of additions depends on the number of elements only, so the result is the same
/// whatever the number of threads.
///
/// # Shapes
/// - `x`: `[elements]`
pub fn sum_squares(x: Tensor<1>) -> f64 {
    let sums: Vec<f64> = match x.dtype() {
        DType::F64 => runs(&host::<f64>(x)),
        _ => runs(&host::<f32>(x)),
    };
    pairwise(&sums)
}

fn host<E: Element>(x: Tensor<1>) -> Vec<E> {
    x.try_into_vec_as()
        .expect("a float tensor can be read as floats")
}

fn runs<E: Copy + Into<f64>>(values: &[E]) -> Vec<f64> {
    values.chunks(RUN).map(run).collect()
}

fn run<E: Copy + Into<f64>>(values: &[E]) -> f64 {
    let (blocks, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    let mut add = |lane: usize, value: E| {
        let value: f64 = value.into();
        sums[lane] += value * value;
    };
    for block in blocks {
        for (lane, &value) in block.iter().enumerate() {
            add(lane, value);
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        add(lane, value);
    }
    pairwise(&sums)
}

fn pairwise(sums: &[f64]) -> f64 {
    match sums {
        [] => 0.0,
        [sum] => *sum,
        _ => {
            let (left, right) = sums.split_at(sums.len().div_ceil(2));
            pairwise(left) + pairwise(right)
        }
    }
}
