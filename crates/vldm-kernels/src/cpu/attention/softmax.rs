//! Softmax along the rows of a block, one lane per query.

use super::simd::{Simd, Task, exp2};

/// Below every logit, and far enough from the end of the range that differences stay finite.
pub(super) const NO_LOGIT: f32 = -1.0e38;

/// Turns logits `[keys, lane]` into weights `2^(logit - max)`, with the largest logit of these and
/// all earlier keys.
///
/// # Source
/// Dao et al. 2022 (arXiv:2205.14135), algorithm 1.
pub(super) struct SoftmaxStep<'a, const V: usize> {
    pub(super) logits: &'a mut [f32],
    /// The largest logit so far, per lane.
    pub(super) max: &'a mut [f32],
    /// The sum of the weights so far, per lane.
    pub(super) sum: &'a mut [f32],
    /// Receives what the weights of earlier keys are to be multiplied by.
    pub(super) decay: &'a mut [f32],
}

impl<const V: usize> Task for SoftmaxStep<'_, V> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let width = V * S::LANES;
        let mut max = [S::splat(0.0); V];
        for (v, max) in max.iter_mut().enumerate() {
            *max = S::load(&self.max[v * S::LANES..]);
        }
        for row in self.logits.chunks_exact(width) {
            for (v, max) in max.iter_mut().enumerate() {
                *max = S::max(S::load(&row[v * S::LANES..]), *max);
            }
        }
        let mut sum = [S::splat(0.0); V];
        for v in 0..V {
            let at = v * S::LANES;
            let factor = exp2::<S>(S::sub(S::load(&self.max[at..]), max[v]));
            S::store(&mut self.decay[at..], factor);
            S::store(&mut self.max[at..], max[v]);
            sum[v] = S::mul(S::load(&self.sum[at..]), factor);
        }
        for row in self.logits.chunks_exact_mut(width) {
            for v in 0..V {
                let at = v * S::LANES;
                let weight = exp2::<S>(S::sub(S::load(&row[at..]), max[v]));
                S::store(&mut row[at..], weight);
                sum[v] = S::add(sum[v], weight);
            }
        }
        for (v, sum) in sum.into_iter().enumerate() {
            S::store(&mut self.sum[v * S::LANES..], sum);
        }
    }
}

/// Turns logits `[row, lane]` into weights and gradients of the weights into gradients of the
/// logits: `p = 2^(logit - lse)`, `p * (d_weight - delta)`.
///
/// # Source
/// Dao et al. 2022 (arXiv:2205.14135), algorithm 4, lines 13 to 20.
pub(super) struct SoftmaxGradient<'a, const V: usize, const BY_ROW: bool> {
    pub(super) logits: &'a mut [f32],
    pub(super) d_weights: &'a mut [f32],
    /// Of the queries: per lane, or per row with `BY_ROW`.
    pub(super) lse: &'a [f32],
    /// As `lse`.
    pub(super) delta: &'a [f32],
}

impl<const V: usize, const BY_ROW: bool> Task for SoftmaxGradient<'_, V, BY_ROW> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let width = V * S::LANES;
        let logits = self.logits.chunks_exact_mut(width);
        let d_weights = self.d_weights.chunks_exact_mut(width);
        for (row, (logits, d_weights)) in logits.zip(d_weights).enumerate() {
            for v in 0..V {
                let at = v * S::LANES;
                let (lse, delta) = if BY_ROW {
                    (S::splat(self.lse[row]), S::splat(self.delta[row]))
                } else {
                    (S::load(&self.lse[at..]), S::load(&self.delta[at..]))
                };
                let p = exp2::<S>(S::sub(S::load(&logits[at..]), lse));
                let d = S::mul(p, S::sub(S::load(&d_weights[at..]), delta));
                S::store(&mut logits[at..], p);
                S::store(&mut d_weights[at..], d);
            }
        }
    }
}
