//! Elementary functions that compile to vector instructions inside loops.

/// `a * b + c`, fused where `FMA` says that is one instruction.
#[inline(always)]
pub fn madd<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `e^x` to about 1 unit in the last place; 0 far below, infinity far above, NaN for NaN.
#[inline(always)]
pub fn exp<const FMA: bool>(x: f32) -> f32 {
    // Beyond these the result is 0 or infinity; NaN passes through both comparisons.
    let clamped = if x < -104.0 { -104.0 } else { x };
    let clamped = if clamped > 89.0 { 89.0 } else { clamped };
    let (mantissa, shifted) = exp_parts::<FMA>(clamped);
    // 2^n in two factors, so that neither leaves the range of exponents.
    let n = shifted.wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
    mantissa * power(half) * power(n - half)
}

/// Adding 1.5 * 2^23 rounds to the nearest integer, and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;

/// `e^x` as a number near 1 and `n`, to whose power 2 has to be taken, in the low bits of
/// `ROUND + n`.
#[inline(always)]
fn exp_parts<const FMA: bool>(x: f32) -> (f32, u32) {
    const LOG2_E: f32 = core::f32::consts::LOG2_E;
    // ln 2 in two parts: the first has few bits, so its product with an integer is exact.
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let shifted = madd::<FMA>(x, LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = madd::<FMA>(n, -LN_2_HIGH, x);
    let r = madd::<FMA>(n, -LN_2_LOW, r);
    let mut p = 1.987_569_1e-4;
    p = madd::<FMA>(p, r, 1.398_2e-3);
    p = madd::<FMA>(p, r, 8.333_452e-3);
    p = madd::<FMA>(p, r, 4.166_579_6e-2);
    p = madd::<FMA>(p, r, 1.666_666_5e-1);
    p = madd::<FMA>(p, r, 0.5);
    (madd::<FMA>(p * r, r, r) + 1.0, shifted.to_bits())
}

/// `1 / (1 + e^-x)`; below -87 what it is there, 1e-38.
#[inline(always)]
pub fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp_within::<FMA>(-x.clamp(-87.0, 87.0)))
}

/// [`exp`] for `x` from -87 to 87 and for the NaNs that arithmetic makes, anything beyond.
///
/// Without infinities and subnormals it is a third shorter, and the functions that are made of it
/// do little else.
#[inline(always)]
pub fn exp_within<const FMA: bool>(x: f32) -> f32 {
    let (mantissa, shifted) = exp_parts::<FMA>(x);
    // The exponent lies at the bottom of `shifted`, and has room in `mantissa`.
    f32::from_bits(mantissa.to_bits().wrapping_add(shifted << 23))
}

/// The error function, to 1e-7.
///
/// Near zero an odd polynomial, elsewhere `1 - e^p(|x|)`: both are computed and one is chosen, so
/// that loops over it have no branch.
///
/// # Source
/// Coefficients: N. Juffa, minimax approximations of `erff`.
#[inline(always)]
pub fn erf<const FMA: bool>(x: f32) -> f32 {
    let square = x * x;
    let mut p = -5.967_617e-4;
    p = madd::<FMA>(p, square, 4.991_194_2e-3);
    p = madd::<FMA>(p, square, -2.676_813_5e-2);
    p = madd::<FMA>(p, square, 1.128_199_25e-1);
    p = madd::<FMA>(p, square, -3.761_253_4e-1);
    p = madd::<FMA>(p, square, 1.283_791_7e-1);
    let near = madd::<FMA>(p, x, x);

    // Beyond 4 the function is 1 to the last bit, and the polynomial is not made for it.
    let t = x.abs();
    let t = if t > 4.0 { 4.0 } else { t };
    let mut q = madd::<FMA>(-1.728_534_7e-5, t, 3.831_971_3e-4);
    q = madd::<FMA>(q, t, -3.883_964_4e-3);
    q = madd::<FMA>(q, t, 2.425_462_2e-2);
    q = madd::<FMA>(q, t, -1.067_778_8e-1);
    q = madd::<FMA>(q, t, -6.348_467e-1);
    q = madd::<FMA>(q, t, -1.287_175_1e-1);
    let far = 1.0 - exp_within::<FMA>(madd::<FMA>(q, t, -t));
    if t > 0.921_875 { far.copysign(x) } else { near }
}

#[cfg(test)]
mod tests;
