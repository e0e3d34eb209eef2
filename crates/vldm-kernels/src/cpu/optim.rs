//! The optimiser's arithmetic, in one pass over memory.

use rayon::prelude::*;

use super::level::Level;
use super::math::madd;
use super::norm::GRAIN;
use crate::operands::AdamWStep;

#[cfg(test)]
mod tests;

/// What one AdamW step reads and replaces; all of the same length.
#[derive(Debug)]
pub struct Buffers<'a> {
    /// The parameter.
    pub parameter: &'a mut [f32],
    /// Its gradient.
    pub gradient: &'a [f32],
    /// Running mean of the gradients.
    pub first: &'a mut [f32],
    /// Running mean of the squared gradients.
    pub second: &'a mut [f32],
    /// Running mean of the parameter, if one is kept.
    pub average: Option<Average<'a>>,
}

/// An exponential moving average of a parameter.
#[derive(Debug)]
pub struct Average<'a> {
    /// The average, as long as the parameter.
    pub values: &'a mut [f32],
    /// Weight of the old average, in [0, 1].
    pub decay: f64,
}

/// One AdamW step with decoupled weight decay, as PyTorch's `torch.optim.AdamW` does it.
///
/// The average sees the new parameter.
///
/// # Source
/// Loshchilov and Hutter 2019 (arXiv:1711.05101), algorithm 2.
pub fn adamw(level: Level, step: &AdamWStep, buffers: Buffers<'_>) {
    let Buffers {
        parameter,
        gradient,
        first,
        second,
        average,
    } = buffers;
    debug_assert_eq!(gradient.len(), parameter.len(), "adamw: gradient");
    debug_assert_eq!(first.len(), parameter.len(), "adamw: first");
    debug_assert_eq!(second.len(), parameter.len(), "adamw: second");
    debug_assert!(
        average
            .as_ref()
            .is_none_or(|average| average.values.len() == parameter.len()),
        "adamw: average"
    );
    debug_assert!(step.number > 0, "adamw: the first step has number 1");
    let factors = Factors::of(step);
    let tensors = parameter
        .par_chunks_mut(GRAIN)
        .zip(gradient.par_chunks(GRAIN))
        .zip(first.par_chunks_mut(GRAIN))
        .zip(second.par_chunks_mut(GRAIN))
        .map(|(((parameter, gradient), first), second)| (parameter, gradient, [first, second]));
    match average {
        None => tensors.for_each(|tensors| update(level, &factors, tensors, &mut [])),
        Some(Average { values, decay }) => {
            let factors = Factors {
                towards_new: (1.0 - decay) as f32,
                ..factors
            };
            tensors
                .zip(values.par_chunks_mut(GRAIN))
                .for_each(|(tensors, average)| update(level, &factors, tensors, average));
        }
    }
}

/// The step's numbers, computed in f64.
#[derive(Debug, Clone, Copy)]
struct Factors {
    gradient: f32,
    /// Of the old and of the new summand of both running means.
    first: [f32; 2],
    second: [f32; 2],
    /// What undoes the bias of the second mean's root.
    correction: f32,
    epsilon: f32,
    step_size: f32,
    decay: f32,
    /// Weight of the new parameter in the average.
    towards_new: f32,
}

impl Factors {
    fn of(step: &AdamWStep) -> Self {
        let config = step.config;
        let number = step.number as f64;
        Self {
            gradient: step.gradient_scale as f32,
            first: [config.beta1 as f32, (1.0 - config.beta1) as f32],
            second: [config.beta2 as f32, (1.0 - config.beta2) as f32],
            correction: (1.0 - config.beta2.powf(number)).sqrt().recip() as f32,
            epsilon: config.epsilon as f32,
            step_size: (config.learning_rate / (1.0 - config.beta1.powf(number))) as f32,
            decay: (1.0 - config.learning_rate * config.weight_decay) as f32,
            towards_new: 0.0,
        }
    }
}

leveled! {
    /// `average` is empty where there is none.
    fn update(
        level,
        factors: &Factors,
        tensors: (&mut [f32], &[f32], [&mut [f32]; 2]),
        average: &mut [f32],
    ) {
        // So short that the parameter is still in the nearest cache when the average reads it.
        const RUN: usize = 1024;
        let (parameter, gradient, [first, second]) = tensors;
        let mut averages = average.chunks_mut(RUN);
        let runs = parameter.chunks_mut(RUN).zip(gradient.chunks(RUN));
        let moments = first.chunks_mut(RUN).zip(second.chunks_mut(RUN));
        for ((parameter, gradient), (first, second)) in runs.zip(moments) {
            step_run::<FMA>(factors, parameter, gradient, [first, second]);
            if let Some(average) = averages.next() {
                for (average, parameter) in average.iter_mut().zip(parameter) {
                    let difference = *parameter - *average;
                    *average = madd::<FMA>(difference, factors.towards_new, *average);
                }
            }
        }
    }
}

#[inline(always)]
fn step_run<const FMA: bool>(
    factors: &Factors,
    parameter: &mut [f32],
    gradient: &[f32],
    [first, second]: [&mut [f32]; 2],
) {
    let Factors {
        first: [old1, new1],
        second: [old2, new2],
        ..
    } = *factors;
    let moments = first.iter_mut().zip(second);
    for ((parameter, gradient), (first, second)) in parameter.iter_mut().zip(gradient).zip(moments)
    {
        let gradient = gradient * factors.gradient;
        *first = madd::<FMA>(*first, old1, gradient * new1);
        *second = madd::<FMA>(*second, old2, gradient * gradient * new2);
        let denominator = madd::<FMA>(second.sqrt(), factors.correction, factors.epsilon);
        let step = *first / denominator;
        *parameter = madd::<FMA>(step, -factors.step_size, *parameter * factors.decay);
    }
}

/// Sum of the squares of all elements, in f64.
///
/// The order of additions depends on the number of elements only. An element that is not finite
/// makes the sum so.
pub fn sum_squares(level: Level, x: &[f32]) -> f64 {
    /// Elements summed in one run before the sums of runs are added pairwise.
    const RUN: usize = 1 << 14;
    let runs: Vec<f64> = x
        .par_chunks(RUN)
        .with_min_len(GRAIN / RUN)
        .map(|x| run(level, x))
        .collect();
    pairwise(&runs)
}

leveled! {
    fn run(level, x: &[f32]) -> f64 {
        // Independent sums, which need not wait for each other.
        const LANES: usize = 32;
        let mut sums = [0.0; LANES];
        for x in x.chunks(LANES) {
            for (sum, &x) in sums.iter_mut().zip(x) {
                // The square of an f32 is exact in f64.
                *sum += f64::from(x) * f64::from(x);
            }
        }
        pairwise(&sums)
    }
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
