//! The operations as plain loops in f64, written from their definitions.

use super::check::Array;

/// Error function to 1e-16: its series for small arguments, a continued fraction for large ones.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 2.5 {
        let mut term = a;
        let mut sum = a;
        for n in 1..100 {
            term *= -a * a / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * core::f64::consts::FRAC_2_SQRT_PI
    } else {
        let fraction = (1..=200)
            .rev()
            .fold(0.0, |f, n| f64::from(n) / 2.0 / (a + f));
        let erfc = (-a * a).exp() / (a + fraction) / core::f64::consts::PI.sqrt();
        1.0 - erfc
    };
    value.copysign(x)
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub(super) fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

pub(super) fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / 2.0_f64.sqrt()))
}

pub(super) fn gelu_tanh(x: f64) -> f64 {
    let inner = (2.0 / core::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
    0.5 * x * (1.0 + inner.tanh())
}

pub(super) fn quick_gelu(x: f64) -> f64 {
    x * sigmoid(1.702 * x)
}

/// `a` and `b` along the last axis.
pub(super) fn concat(a: &Array, b: &Array) -> Array {
    let last = a.dims.len() - 1;
    let split = a.dims[last];
    let mut dims = a.dims.clone();
    dims[last] += b.dims[last];
    Array::from_fn(&dims, |index| {
        let mut index = index.to_vec();
        if index[last] < split {
            a.at(&index)
        } else {
            index[last] -= split;
            b.at(&index)
        }
    })
}

/// `y` plus `shift` `[n, out]` (the leading axes of `y` folded to `n`) plus `residual`.
pub(super) fn epilogue(y: &Array, shift: Option<&Array>, residual: Option<&Array>) -> Array {
    let out = y.dims[y.dims.len() - 1];
    let each = shift.map(|shift| y.data.len() / shift.dims[0].max(1));
    let mut y = y.clone();
    for (i, value) in y.data.iter_mut().enumerate() {
        if let (Some(shift), Some(each)) = (shift, each) {
            *value += shift.at(&[i / each, i % out]);
        }
        if let Some(residual) = residual {
            *value += residual.data[i];
        }
    }
    y
}

/// Stride and padding of a convolution over frames, height and width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) stride: [usize; 3],
    pub(super) before: [usize; 3],
    pub(super) after: [usize; 3],
}

impl Window {
    pub(super) fn same(padding: [usize; 3]) -> Self {
        Self {
            stride: [1; 3],
            before: padding,
            after: padding,
        }
    }
}

/// `x` `[b, f, h, w, in]`, `weight` `[out, in, kf, kh, kw]`.
pub(super) fn conv(x: &Array, weight: &Array, bias: Option<&Array>, window: Window) -> Array {
    let kernel = &weight.dims[2..];
    let size = |axis: usize| {
        let padded = x.dims[axis + 1] + window.before[axis] + window.after[axis];
        (padded - kernel[axis]) / window.stride[axis] + 1
    };
    let dims = [x.dims[0], size(0), size(1), size(2), weight.dims[0]];
    Array::from_fn(&dims, |at| {
        let mut sum = bias.map_or(0.0, |bias| bias.data[at[4]]);
        for i in 0..kernel.iter().product() {
            let tap = [
                i / (kernel[1] * kernel[2]),
                i / kernel[2] % kernel[1],
                i % kernel[2],
            ];
            // Where the tap reads, if that is inside the input.
            let position = |axis: usize| {
                let padded = at[axis + 1] * window.stride[axis] + tap[axis];
                let inside = padded.checked_sub(window.before[axis])?;
                (inside < x.dims[axis + 1]).then_some(inside)
            };
            let (Some(f), Some(h), Some(w)) = (position(0), position(1), position(2)) else {
                continue;
            };
            for channel in 0..x.dims[4] {
                sum += x.at(&[at[0], f, h, w, channel])
                    * weight.at(&[at[4], channel, tap[0], tap[1], tap[2]]);
            }
        }
        sum
    })
}

/// `x` `[..., in]`, `weight` `[out, in]`.
pub(super) fn linear(x: &Array, weight: &Array, bias: Option<&Array>) -> Array {
    let [out, inputs] = [weight.dims[0], weight.dims[1]];
    let mut dims = x.dims.clone();
    *dims.last_mut().unwrap() = out;
    let rows = x.reshape(&[x.data.len() / inputs, inputs]);
    let y = Array::from_fn(&[rows.dims[0], out], |at| {
        let sum: f64 = (0..inputs)
            .map(|i| rows.at(&[at[0], i]) * weight.at(&[at[1], i]))
            .sum();
        sum + bias.map_or(0.0, |bias| bias.data[at[1]])
    });
    y.reshape(&dims)
}

/// `x` `[n, tokens, channels]`.
pub(super) fn group_norm(
    x: &Array,
    weight: &Array,
    bias: &Array,
    groups: usize,
    eps: f64,
) -> Array {
    let [n, tokens, channels] = [x.dims[0], x.dims[1], x.dims[2]];
    let each = channels / groups;
    let members = |n: usize, group: usize| {
        (0..tokens * each).map(move |i| x.at(&[n, i / each, group * each + i % each]))
    };
    let statistics = Array::from_fn(&[n, groups, 2], |at| {
        let count = (tokens * each) as f64;
        let mean = members(at[0], at[1]).sum::<f64>() / count;
        let variance = members(at[0], at[1])
            .map(|v| (v - mean).powi(2))
            .sum::<f64>()
            / count;
        [mean, variance][at[2]]
    });
    Array::from_fn(&x.dims, |at| {
        let group = at[2] / each;
        let [mean, variance] = [0, 1].map(|i| statistics.at(&[at[0], group, i]));
        (x.at(at) - mean) / (variance + eps).sqrt() * weight.data[at[2]] + bias.data[at[2]]
    })
}

/// `x` `[..., channels]`.
pub(super) fn layer_norm(x: &Array, weight: &Array, bias: &Array, eps: f64) -> Array {
    let channels = weight.data.len();
    // One group per row.
    let rows = x.reshape(&[x.data.len() / channels, 1, channels]);
    group_norm(&rows, weight, bias, 1, eps).reshape(&x.dims)
}

/// Attention over the second axis; `q` `[n, queries, heads * dim]`, and whether query `i` sees
/// key `j`.
pub(super) fn attention(
    [q, k, v]: [&Array; 3],
    heads: usize,
    sees: impl Fn(usize, usize) -> bool,
) -> Array {
    let keys = k.dims[1];
    let dim = q.dims[2] / heads;
    let scores = Array::from_fn(&[q.dims[0], q.dims[1], heads, keys], |at| {
        let [n, i, head, j] = [at[0], at[1], at[2], at[3]];
        if !sees(i, j) {
            return f64::NEG_INFINITY;
        }
        let dot: f64 = (head * dim..(head + 1) * dim)
            .map(|c| q.at(&[n, i, c]) * k.at(&[n, j, c]))
            .sum();
        dot / (dim as f64).sqrt()
    });
    Array::from_fn(&q.dims, |at| {
        let [n, i, head] = [at[0], at[1], at[2] / dim];
        let row: Vec<f64> = (0..keys).map(|j| scores.at(&[n, i, head, j])).collect();
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = row.iter().map(|s| (s - max).exp()).sum();
        (0..keys)
            .map(|j| (row[j] - max).exp() / total * v.at(&[n, j, at[2]]))
            .sum()
    })
}

/// Swaps axes 1 and 2 of a four-dimensional array.
pub(super) fn swap_middle(x: &Array) -> Array {
    let d = &x.dims;
    Array::from_fn(&[d[0], d[2], d[1], d[3]], |at| {
        x.at(&[at[0], at[2], at[1], at[3]])
    })
}
