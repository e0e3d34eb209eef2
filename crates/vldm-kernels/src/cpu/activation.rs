//! Activations: functions of one value, their slopes, and loops over them.

use rayon::prelude::*;

use super::element::Element;
use super::level::Level;
use super::math::{erf, exp_within, madd, sigmoid};
use super::norm::GRAIN;

#[cfg(test)]
mod tests;

/// `x * sigmoid(x)`.
#[inline(always)]
pub fn silu<const FMA: bool>(x: f32) -> f32 {
    gated_by_sigmoid::<FMA>(x, 1.0)
}

/// Derivative of [`silu`].
#[inline(always)]
pub fn silu_slope<const FMA: bool>(x: f32) -> f32 {
    gated_slope::<FMA>(x, 1.0)
}

/// `x * sigmoid(factor * x)`.
#[inline(always)]
fn gated_by_sigmoid<const FMA: bool>(x: f32, factor: f32) -> f32 {
    // Below this bound the product is 0 to f32's accuracy, however large `x` is.
    let bound = 87.0 / factor;
    let x = if x < -bound { -bound } else { x };
    let bounded = if x > bound { bound } else { x };
    x / (1.0 + exp_within::<FMA>(-factor * bounded))
}

/// Derivative of [`gated_by_sigmoid`].
#[inline(always)]
fn gated_slope<const FMA: bool>(x: f32, factor: f32) -> f32 {
    let bound = 87.0 / factor;
    let z = factor * x.clamp(-bound, bound);
    sigmoid_slope::<FMA>(z, 1.0 / (1.0 + exp_within::<FMA>(-z)))
}

/// `s + z * s * (1 - s)`: derivative of `x * sigmoid(z)` for `z` in proportion to `x`, where
/// `s` is `sigmoid(z)`.
#[inline(always)]
fn sigmoid_slope<const FMA: bool>(z: f32, s: f32) -> f32 {
    madd::<FMA>(z * s, 1.0 - s, s)
}

/// `x * (1 + erf(x / sqrt(2))) / 2`: the exact form.
#[inline(always)]
pub fn gelu<const FMA: bool>(x: f32) -> f32 {
    x * normal_cdf::<FMA>(x)
}

/// [`gelu`] to 1e-4 up to 4.2 and to 3e-5 of `x` beyond: as good as it can be told in bf16, at a third
/// of the cost.
///
/// The normal distribution's odd part is a polynomial, fitted so that the largest error of the
/// product with `x` is least.
#[inline(always)]
pub fn gelu_in_half<const FMA: bool>(x: f32) -> f32 {
    const END: f32 = 4.2;
    let bounded = if x < -END { -END } else { x };
    let bounded = if bounded > END { END } else { bounded };
    let square = bounded * bounded;
    let mut p = -9.613_621e-10;
    p = madd::<FMA>(p, square, 8.330_15e-8);
    p = madd::<FMA>(p, square, -3.139_966e-6);
    p = madd::<FMA>(p, square, 6.826_747e-5);
    p = madd::<FMA>(p, square, -9.607_699e-4);
    p = madd::<FMA>(p, square, 9.337_492e-3);
    p = madd::<FMA>(p, square, -6.559_943e-2);
    p = madd::<FMA>(p, square, 3.985_087_6e-1);
    x * madd::<FMA>(p, bounded, 0.5)
}

/// Derivative of [`gelu`].
#[inline(always)]
pub fn gelu_slope<const FMA: bool>(x: f32) -> f32 {
    // 1 / sqrt(2 pi)
    const PEAK: f32 = 0.398_942_3;
    // Beyond this bound the slope is 0 or 1, and what follows stays in range.
    let x = x.clamp(-13.0, 13.0);
    let density = PEAK * exp_within::<FMA>(-0.5 * x * x);
    madd::<FMA>(x, density, normal_cdf::<FMA>(x))
}

/// Probability that a standard normal variable is below `x`.
#[inline(always)]
fn normal_cdf<const FMA: bool>(x: f32) -> f32 {
    madd::<FMA>(0.5, erf::<FMA>(x * core::f32::consts::FRAC_1_SQRT_2), 0.5)
}

// (1 + tanh(z)) / 2 = sigmoid(2 z), and 2 z = x * (LINEAR + CUBIC x^2).
const LINEAR: f32 = 2.0 * core::f32::consts::FRAC_2_SQRT_PI * core::f32::consts::FRAC_1_SQRT_2;
const CUBIC: f32 = 0.044715 * LINEAR;

/// `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2`: PyTorch's `approximate="tanh"`.
#[inline(always)]
pub fn gelu_tanh<const FMA: bool>(x: f32) -> f32 {
    // Below this bound the product is 0 to f32's accuracy, however large `x` is.
    let x = if x < -16.0 { -16.0 } else { x };
    x * sigmoid::<FMA>(x * madd::<FMA>(CUBIC, x * x, LINEAR))
}

/// Derivative of [`gelu_tanh`].
#[inline(always)]
pub fn gelu_tanh_slope<const FMA: bool>(x: f32) -> f32 {
    // Beyond this bound the slope is 0 or 1, and what follows stays in range.
    let x = x.clamp(-16.0, 16.0);
    let square = x * x;
    let s = sigmoid::<FMA>(x * madd::<FMA>(CUBIC, square, LINEAR));
    sigmoid_slope::<FMA>(x * madd::<FMA>(3.0 * CUBIC, square, LINEAR), s)
}

/// `x * sigmoid(1.702 x)`: the activation of CLIP's first text encoders.
#[inline(always)]
pub fn quick_gelu<const FMA: bool>(x: f32) -> f32 {
    gated_by_sigmoid::<FMA>(x, QUICK)
}

/// Derivative of [`quick_gelu`].
#[inline(always)]
pub fn quick_gelu_slope<const FMA: bool>(x: f32) -> f32 {
    gated_slope::<FMA>(x, QUICK)
}

const QUICK: f32 = 1.702;

/// A function of one value as a type, for loops that are compiled once for each.
pub trait Curve: Copy + Send + Sync {
    /// The function's value at `x`.
    fn value<const FMA: bool>(self, x: f32) -> f32;
    /// Its derivative at `x`.
    fn slope<const FMA: bool>(self, x: f32) -> f32;
}

macro_rules! curve {
    ($(#[$meta:meta])* $name:ident, $value:expr, $slope:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl Curve for $name {
            #[inline(always)]
            fn value<const FMA: bool>(self, x: f32) -> f32 {
                $value(x)
            }

            #[inline(always)]
            fn slope<const FMA: bool>(self, x: f32) -> f32 {
                $slope(x)
            }
        }
    };
}

curve!(/** `x` itself. */ Identity, |x| x, |_| 1.0);
curve!(/** [`silu`]. */ Silu, silu::<FMA>, silu_slope::<FMA>);
curve!(/** [`gelu`]. */ Gelu, gelu::<FMA>, gelu_slope::<FMA>);
curve!(/** [`gelu_tanh`]. */ GeluTanh, gelu_tanh::<FMA>, gelu_tanh_slope::<FMA>);
curve!(/** [`quick_gelu`]. */ QuickGelu, quick_gelu::<FMA>, quick_gelu_slope::<FMA>);

/// Which activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`silu`].
    Silu,
    /// [`gelu`].
    Gelu,
    /// [`gelu_tanh`].
    GeluTanh,
    /// [`quick_gelu`].
    QuickGelu,
}

/// `y = f(x)`, element by element.
///
/// # Shapes
/// - `x`, `y`: the same number of elements
pub fn forward<T: Element>(level: Level, kind: Kind, x: &[T], y: &mut [T]) {
    debug_assert_eq!(x.len(), y.len(), "activation: x and y");
    match kind {
        Kind::Silu => map(level, Silu, x, y),
        Kind::Gelu => map(level, Gelu, x, y),
        Kind::GeluTanh => map(level, GeluTanh, x, y),
        Kind::QuickGelu => map(level, QuickGelu, x, y),
    }
}

/// `dx = dy * f'(x)`, element by element.
///
/// # Shapes
/// - `x`, `dy`, `dx`: the same number of elements
pub fn backward<T: Element>(level: Level, kind: Kind, x: &[T], dy: &[T], dx: &mut [T]) {
    debug_assert_eq!(x.len(), dy.len(), "activation: x and dy");
    debug_assert_eq!(x.len(), dx.len(), "activation: x and dx");
    match kind {
        Kind::Silu => map_slope(level, Silu, x, dy, dx),
        Kind::Gelu => map_slope(level, Gelu, x, dy, dx),
        Kind::GeluTanh => map_slope(level, GeluTanh, x, dy, dx),
        Kind::QuickGelu => map_slope(level, QuickGelu, x, dy, dx),
    }
}

fn map<T: Element>(level: Level, curve: impl Curve, x: &[T], y: &mut [T]) {
    y.par_chunks_mut(GRAIN)
        .zip(x.par_chunks(GRAIN))
        .for_each(|(y, x)| values(level, curve, x, y));
}

fn map_slope<T: Element>(level: Level, curve: impl Curve, x: &[T], dy: &[T], dx: &mut [T]) {
    dx.par_chunks_mut(GRAIN)
        .zip(x.par_chunks(GRAIN))
        .zip(dy.par_chunks(GRAIN))
        .for_each(|((dx, x), dy)| slopes(level, curve, x, dy, dx));
}

leveled! {
    fn values<T: Element, C: Curve>(level, curve: C, x: &[T], y: &mut [T]) {
        for (&x, y) in x.iter().zip(y) {
            *y = T::narrow(curve.value::<FMA>(x.widen()));
        }
    }
}

leveled! {
    fn slopes<T: Element, C: Curve>(level, curve: C, x: &[T], dy: &[T], dx: &mut [T]) {
        for ((&x, &dy), dx) in x.iter().zip(dy).zip(dx) {
            *dx = T::narrow(dy.widen() * curve.slope::<FMA>(x.widen()));
        }
    }
}

/// `y = h[..inner] * gelu(h[inner..])`, row by row.
///
/// # Shapes
/// - `h`: `[rows, 2 * inner]`
/// - `y`: `[rows, inner]`
///
/// # Source
/// Shazeer 2020 (arXiv:2002.05202), equation 6.
pub fn geglu<T: Element>(level: Level, inner: usize, h: &[T], y: &mut [T]) {
    debug_assert_eq!(h.len(), 2 * y.len(), "geglu: h and y");
    if y.is_empty() {
        return;
    }
    let run = GRAIN.div_ceil(inner) * inner;
    y.par_chunks_mut(run)
        .zip(h.par_chunks(2 * run))
        .for_each(|(y, h)| gated(level, inner, h, y));
}

/// Gradient of [`geglu`].
///
/// # Shapes
/// - `h`, `dh`: `[rows, 2 * inner]`
/// - `dy`: `[rows, inner]`
pub fn geglu_backward<T: Element>(level: Level, inner: usize, h: &[T], dy: &[T], dh: &mut [T]) {
    debug_assert_eq!(h.len(), 2 * dy.len(), "geglu: h and dy");
    debug_assert_eq!(h.len(), dh.len(), "geglu: h and dh");
    if dy.is_empty() {
        return;
    }
    let run = GRAIN.div_ceil(inner) * inner;
    dh.par_chunks_mut(2 * run)
        .zip(h.par_chunks(2 * run))
        .zip(dy.par_chunks(run))
        .for_each(|((dh, h), dy)| gated_slopes(level, inner, h, dy, dh));
}

leveled! {
    fn gated<T: Element>(level, inner: usize, h: &[T], y: &mut [T]) {
        for (h, y) in h.chunks_exact(2 * inner).zip(y.chunks_exact_mut(inner)) {
            let (value, gate) = h.split_at(inner);
            for ((&value, &gate), y) in value.iter().zip(gate).zip(y) {
                *y = T::narrow(value.widen() * gelu::<FMA>(gate.widen()));
            }
        }
    }
}

leveled! {
    fn gated_slopes<T: Element>(level, inner: usize, h: &[T], dy: &[T], dh: &mut [T]) {
        let rows = h.chunks_exact(2 * inner).zip(dh.chunks_exact_mut(2 * inner));
        for ((h, dh), dy) in rows.zip(dy.chunks_exact(inner)) {
            let (value, gate) = h.split_at(inner);
            let (d_value, d_gate) = dh.split_at_mut(inner);
            for i in 0..inner {
                let (dy, gate) = (dy[i].widen(), gate[i].widen());
                d_value[i] = T::narrow(dy * gelu::<FMA>(gate));
                d_gate[i] = T::narrow(dy * value[i].widen() * gelu_slope::<FMA>(gate));
            }
        }
    }
}
