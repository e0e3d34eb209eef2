//! What the benches share: tensors, and one measurement per operation and data type.

use burn::tensor::{DType, Device, Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput};
use vldm_kernels::flops;

/// Makes normal values of one data type on the processor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values(DType);

impl Values {
    /// A tensor of the given shape.
    pub(crate) fn normal<const D: usize>(self, dims: [usize; D]) -> Tensor<D> {
        let normal = Distribution::Normal(0.0, 1.0);
        let values: Tensor<D> = Tensor::random(dims, normal, &Device::flex());
        values.cast(self.0)
    }
}

/// Measures what `prepare` returns, in f32 and in bf16; the rate is in operations per second where
/// the operation has products, else in values per second.
pub(crate) fn operation<T>(
    criterion: &mut Criterion,
    name: &str,
    values: usize,
    mut prepare: impl FnMut(Values) -> Box<dyn FnMut() -> T>,
) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    for dtype in [DType::F32, DType::BF16] {
        let mut run = prepare(Values(dtype));
        let amount = match flops::count(&mut run).1 {
            0 => values as u64,
            flops => flops,
        };
        group.throughput(Throughput::Elements(amount));
        group.bench_function(BenchmarkId::from_parameter(dtype.name()), |bencher| {
            bencher.iter(&mut run);
        });
    }
    group.finish();
}
