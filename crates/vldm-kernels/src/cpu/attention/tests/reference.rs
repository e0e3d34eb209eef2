//! Attention and its gradients, one scalar at a time.

use super::{AttentionSpec, Mask};

/// Operands as `[pairs, tokens, dim]`.
pub(super) struct Reference<'a> {
    pub(super) spec: &'a AttentionSpec,
    pub(super) q: &'a [f64],
    pub(super) k: &'a [f64],
    pub(super) v: &'a [f64],
}

/// `[pairs, tokens, dim]` each.
pub(super) struct ReferenceGradients {
    pub(super) dq: Vec<f64>,
    pub(super) dk: Vec<f64>,
    pub(super) dv: Vec<f64>,
}

fn sees(mask: Mask, i: usize, j: usize) -> bool {
    match mask {
        Mask::None => true,
        Mask::Causal => j <= i,
        Mask::Distance(d) => i.abs_diff(j) <= d,
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `y += a * x`.
fn add(y: &mut [f64], a: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

impl<'a> Reference<'a> {
    fn pairs(&self) -> usize {
        self.spec.sequences[0] * self.spec.sequences[1] * self.spec.heads
    }

    fn scale(&self) -> f64 {
        1.0 / (self.spec.dim as f64).sqrt()
    }

    fn token(&self, x: &'a [f64], tokens: usize, pair: usize, t: usize) -> &'a [f64] {
        &x[(pair * tokens + t) * self.spec.dim..][..self.spec.dim]
    }

    /// The weights of one query, and its log-sum-exp.
    fn weights(&self, pair: usize, i: usize) -> (Vec<f64>, f64) {
        let AttentionSpec {
            keys,
            queries,
            mask,
            ..
        } = *self.spec;
        let q = self.token(self.q, queries, pair, i);
        let logit = |j| match sees(mask, i, j) {
            true => dot(q, self.token(self.k, keys, pair, j)) * self.scale(),
            false => f64::NEG_INFINITY,
        };
        let logits: Vec<f64> = (0..keys).map(logit).collect();
        let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if max == f64::NEG_INFINITY {
            return (vec![0.0; keys], max);
        }
        let sum: f64 = logits.iter().map(|x| (x - max).exp()).sum();
        let weights = logits.iter().map(|x| (x - max).exp() / sum).collect();
        (weights, max + sum.ln())
    }

    /// The output, and the log-sum-exp as `[pairs, queries]`.
    pub(super) fn forward(&self) -> (Vec<f64>, Vec<f64>) {
        let AttentionSpec {
            keys, queries, dim, ..
        } = *self.spec;
        let (mut out, mut sums) = (Vec::new(), Vec::new());
        for pair in 0..self.pairs() {
            for i in 0..queries {
                let (weights, sum) = self.weights(pair, i);
                let mut y = vec![0.0; dim];
                for (j, p) in weights.into_iter().enumerate() {
                    add(&mut y, p, self.token(self.v, keys, pair, j));
                }
                out.extend(y);
                sums.push(sum);
            }
        }
        (out, sums)
    }

    pub(super) fn backward(&self, d_out: &'a [f64]) -> ReferenceGradients {
        let AttentionSpec {
            keys, queries, dim, ..
        } = *self.spec;
        let mut dq = vec![0.0; self.q.len()];
        let (mut dk, mut dv) = (vec![0.0; self.k.len()], vec![0.0; self.k.len()]);
        for pair in 0..self.pairs() {
            for i in 0..queries {
                let (weights, _) = self.weights(pair, i);
                let dy = self.token(d_out, queries, pair, i);
                let dp = |j| dot(dy, self.token(self.v, keys, pair, j));
                let delta: f64 = weights.iter().enumerate().map(|(j, p)| p * dp(j)).sum();
                for (j, p) in weights.iter().enumerate() {
                    let ds = p * (dp(j) - delta) * self.scale();
                    let (i, j) = ((pair * queries + i) * dim, (pair * keys + j) * dim);
                    add(&mut dv[j..j + dim], *p, dy);
                    add(&mut dq[i..i + dim], ds, &self.k[j..j + dim]);
                    add(&mut dk[j..j + dim], ds, &self.q[i..i + dim]);
                }
            }
        }
        ReferenceGradients { dq, dk, dv }
    }
}
