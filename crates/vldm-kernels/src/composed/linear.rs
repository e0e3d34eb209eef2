//! Matrix products with a weight `[out, in]`.

use burn::tensor::Tensor;

use super::gelu;
use crate::flops;

/// `x weightᵀ + bias + residual`.
///
/// # Shapes
/// - `x`: `[..., in]`
/// - `weight`: `[out, in]`
/// - `bias`: `[out]`
/// - `residual`, returns: `[..., out]`
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    residual: Option<Tensor<D>>,
) -> Tensor<D> {
    let mut dims = x.dims();
    let [out, inputs] = weight.dims();
    debug_assert!(
        dims[D - 1] == inputs,
        "linear: x has {} channels, weight [out, in] = [{out}, {inputs}]",
        dims[D - 1]
    );
    let rows = dims[..D - 1].iter().product();
    let _flops = flops::record(|| flops::linear(rows, inputs, out));
    dims[D - 1] = out;
    if rows == 0 {
        return Tensor::zeros(dims, (&x.device(), x.dtype()));
    }
    // One product over all rows: the same kernel whatever the leading axes are.
    let y = rows_by_weight(x.reshape([rows, inputs]), weight, bias).reshape(dims);
    match residual {
        Some(residual) => y + residual,
        None => y,
    }
}

/// Gated linear unit: the output's first half, times GELU (erf) of its second half.
///
/// # Shapes
/// - `x`: `[..., in]`
/// - `weight`: `[2 * inner, in]`
/// - `bias`: `[2 * inner]`
/// - returns: `[..., inner]`
pub fn linear_geglu<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let [out, inputs] = weight.dims();
    let rows = x.dims()[..D - 1].iter().product();
    let _flops = flops::record(|| flops::linear(rows, inputs, out));
    debug_assert!(
        out.is_multiple_of(2),
        "linear_geglu: weight must have an even number of rows, got {out}"
    );
    let inner = out / 2;
    // Two products over halves of the weight instead of one followed by slicing its output:
    // rows of a weight are contiguous, halves of the last axis are not.
    let half = |start: usize| {
        let weight = weight.clone().narrow(0, start, inner);
        let bias = bias.clone().map(|bias| bias.narrow(0, start, inner));
        linear(x.clone(), weight, bias, None)
    };
    half(0) * gelu(half(inner))
}

/// `x weightᵀ + bias` for a matrix `x`.
pub(super) fn rows_by_weight(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<2> {
    let [rows, inputs] = x.dims();
    let [out, _] = weight.dims();
    let least = least_rows(inputs, out);
    let x = if rows < least {
        let zeros = Tensor::zeros([least - rows, inputs], (&x.device(), x.dtype()));
        Tensor::cat(vec![x, zeros], 0)
    } else {
        x
    };
    let y = x.matmul(weight.transpose());
    let y = if rows < least {
        y.narrow(0, 0, rows)
    } else {
        y
    };
    match bias {
        Some(bias) => y + bias.reshape([1, out]),
        None => y,
    }
}

/// Rows below which the matrix product on the CPU (`gemm` 0.19) sums in another order, which
/// would make a sample's result depend on the size of its batch.
///
/// Guarded by the test `linear_ignores_the_batch`.
fn least_rows(inputs: usize, out: usize) -> usize {
    // A product of one row, and one of at most 256 elements, are sums of dot products.
    let dots = (256 / out.max(1) + 1).max(2);
    // One of at most 64 by 64 elements splits long sums elsewhere.
    if inputs > 512 && out <= 64 {
        dots.max(65)
    } else {
        dots
    }
}
