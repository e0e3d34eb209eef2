//! Floating-point values as bytes: what a file holds, turned into what a parameter holds, and
//! back. Bytes may lie at any alignment.

use burn::tensor::{AllocationProperty, Bytes, DType, TensorData, bf16, f16};
use half::slice::HalfFloatSliceExt;
use safetensors::Dtype;

/// The tensor library's name of a file's data type; `None` where it has none.
pub(crate) fn dtype_of(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I16 => DType::I16,
        Dtype::I8 => DType::I8,
        Dtype::U64 => DType::U64,
        Dtype::U32 => DType::U32,
        Dtype::U16 => DType::U16,
        Dtype::U8 => DType::U8,
        _ => return None,
    })
}

/// The file's name of a data type; `None` where the format has none.
pub(crate) fn file_dtype(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        _ => return None,
    })
}

/// Whether values of this type can become a parameter.
pub(crate) fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// Tensor data over the file's own pages, without a copy, where the alignment permits; else a
/// copy. The bytes' length must fit the shape.
pub(crate) fn share(bytes: &bytes::Bytes, dtype: DType, shape: &[usize]) -> TensorData {
    let aligned = (bytes.as_ptr() as usize).is_multiple_of(dtype.size());
    let bytes = if aligned {
        Bytes::from_shared(bytes.clone(), AllocationProperty::File)
    } else {
        Bytes::from_bytes_vec(bytes.to_vec())
    };
    TensorData::from_bytes(bytes, shape.to_vec(), dtype)
}

/// How many values are converted at a time: small enough for the innermost cache.
const CHUNK: usize = 4096;

/// Calls `take` with successive runs of the values as f32. `from` must be a float type.
pub(crate) fn for_each_run(bytes: &[u8], from: Dtype, mut take: impl FnMut(&mut [f32])) {
    let mut run = [0f32; CHUNK];
    for part in bytes.chunks(CHUNK * from.bitsize() / 8) {
        let run = &mut run[..part.len() * 8 / from.bitsize()];
        match from {
            Dtype::F32 => {
                for (value, bytes) in run.iter_mut().zip(part.as_chunks::<4>().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
            }
            Dtype::F16 => widen(part, run, f16::from_le_bytes, |half, run| {
                half.convert_to_f32_slice(run);
            }),
            Dtype::BF16 => widen(part, run, bf16::from_le_bytes, |half, run| {
                half.convert_to_f32_slice(run);
            }),
            Dtype::F64 => {
                for (value, bytes) in run.iter_mut().zip(part.as_chunks::<8>().0) {
                    *value = f64::from_le_bytes(*bytes) as f32;
                }
            }
            other => unreachable!("{other:?} is not a float type"),
        }
        take(run);
    }
}

fn widen<H: Copy + Default>(
    part: &[u8],
    run: &mut [f32],
    read: impl Fn([u8; 2]) -> H,
    convert: impl Fn(&[H], &mut [f32]),
) {
    let mut halves = [H::default(); CHUNK];
    let halves = &mut halves[..run.len()];
    for (half, bytes) in halves.iter_mut().zip(part.as_chunks::<2>().0) {
        *half = read(*bytes);
    }
    convert(halves, run);
}

/// Reads float values as another float type, each multiplied by `sign`.
pub(crate) fn convert(
    bytes: &[u8],
    from: Dtype,
    to: DType,
    sign: f32,
    shape: &[usize],
) -> TensorData {
    let count = bytes.len() * 8 / from.bitsize();
    let signed = |run: &mut [f32]| {
        if sign != 1.0 {
            run.iter_mut().for_each(|value| *value *= sign);
        }
    };
    match to {
        DType::F16 => {
            let mut values = Vec::<f16>::with_capacity(count);
            for_each_run(bytes, from, |run| {
                signed(run);
                values.extend(run.iter().map(|&value| f16::from_f32(value)));
            });
            TensorData::new(values, shape.to_vec())
        }
        DType::BF16 => {
            let mut values = Vec::<bf16>::with_capacity(count);
            for_each_run(bytes, from, |run| {
                signed(run);
                values.extend(run.iter().map(|&value| bf16::from_f32(value)));
            });
            TensorData::new(values, shape.to_vec())
        }
        _ => {
            let mut values = Vec::<f32>::with_capacity(count);
            for_each_run(bytes, from, |run| {
                signed(run);
                values.extend_from_slice(run);
            });
            TensorData::new(values, shape.to_vec())
        }
    }
}

/// The values of `rows × columns` bytes, with rows and columns exchanged.
pub(crate) fn transpose(bytes: &[u8], rows: usize, size: usize) -> Vec<u8> {
    let columns = bytes.len() / size / rows.max(1);
    let mut out = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * size;
            out.extend_from_slice(&bytes[at..at + size]);
        }
    }
    out
}

/// Appends the values in another float type, little-endian, with their signs changed if `negate`.
///
/// # Errors
///
/// The first finite value that would become infinite.
pub(crate) fn narrow(
    bytes: &[u8],
    from: Dtype,
    to: Dtype,
    negate: bool,
    out: &mut Vec<u8>,
) -> Result<(), f32> {
    let mut lost = None;
    for_each_run(bytes, from, |run| {
        for &mut value in run {
            let value = if negate { -value } else { value };
            let finite = match to {
                Dtype::F16 => {
                    let half = f16::from_f32(value);
                    out.extend(half.to_le_bytes());
                    half.is_finite()
                }
                Dtype::BF16 => {
                    let half = bf16::from_f32(value);
                    out.extend(half.to_le_bytes());
                    half.is_finite()
                }
                _ => {
                    out.extend(value.to_le_bytes());
                    true
                }
            };
            if !finite && value.is_finite() {
                lost.get_or_insert(value);
            }
        }
    });
    lost.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_float_type_reads_as_every_parameter_type() {
        let values = [0.0f32, -1.5, 2.25, 1024.0];
        let stored = [
            (
                Dtype::F32,
                values
                    .iter()
                    .flat_map(|v| v.to_le_bytes())
                    .collect::<Vec<u8>>(),
            ),
            (
                Dtype::F64,
                values
                    .iter()
                    .flat_map(|&v| f64::from(v).to_le_bytes())
                    .collect(),
            ),
            (
                Dtype::F16,
                values
                    .iter()
                    .flat_map(|&v| f16::from_f32(v).to_le_bytes())
                    .collect(),
            ),
            (
                Dtype::BF16,
                values
                    .iter()
                    .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
                    .collect(),
            ),
        ];
        for (from, bytes) in &stored {
            for to in [DType::F32, DType::F16, DType::BF16] {
                let data = convert(bytes, *from, to, -1.0, &[4]);
                assert_eq!(data.dtype(), to);
                let back: Vec<f32> = data.iter::<f32>().collect();
                assert_eq!(back, [0.0, 1.5, -2.25, -1024.0], "{from:?} {to:?}");
            }
        }
    }

    #[test]
    fn long_tensors_convert_in_runs() {
        let bytes: Vec<u8> = (0..10_000)
            .flat_map(|i| f16::from_f32(i as f32 / 16.0).to_le_bytes())
            .collect();
        let data = convert(&bytes, Dtype::F16, DType::F32, 1.0, &[10_000]);
        assert_eq!(
            data.iter::<f32>().nth(9_999),
            Some(f16::from_f32(9_999.0 / 16.0).to_f32())
        );
    }

    #[test]
    fn a_value_too_large_for_f16_is_reported() {
        let bytes: Vec<u8> = [1.0f32, 70_000.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        assert_eq!(
            narrow(&bytes, Dtype::F32, Dtype::F16, false, &mut Vec::new()),
            Err(70_000.0)
        );
        assert_eq!(
            narrow(&bytes, Dtype::F32, Dtype::BF16, false, &mut Vec::new()),
            Ok(())
        );
    }

    #[test]
    fn transposing_exchanges_rows_and_columns() {
        assert_eq!(transpose(&[1, 2, 3, 4, 5, 6], 2, 1), [1, 4, 2, 5, 3, 6]);
    }
}
