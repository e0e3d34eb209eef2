//! Test support: arrays, deterministic values, and the comparisons every operation goes through.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};

/// A row-major array of f64.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub(super) dims: Vec<usize>,
    pub(super) data: Vec<f64>,
}

impl Array {
    /// An array filled by a function of the index.
    pub(super) fn from_fn(dims: &[usize], mut f: impl FnMut(&[usize]) -> f64) -> Self {
        let mut index = vec![0; dims.len()];
        let data = (0..dims.iter().product())
            .map(|_| {
                let value = f(&index);
                for axis in (0..dims.len()).rev() {
                    index[axis] += 1;
                    if index[axis] < dims[axis] {
                        break;
                    }
                    index[axis] = 0;
                }
                value
            })
            .collect();
        Self {
            dims: dims.to_vec(),
            data,
        }
    }

    pub(super) fn at(&self, index: &[usize]) -> f64 {
        assert_eq!(index.len(), self.dims.len());
        let offset = index
            .iter()
            .zip(&self.dims)
            .fold(0, |offset, (&i, &size)| offset * size + i);
        self.data[offset]
    }

    pub(super) fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self {
            dims: self.dims.clone(),
            data: self.data.iter().map(|&x| f(x)).collect(),
        }
    }

    pub(super) fn reshape(&self, dims: &[usize]) -> Self {
        assert_eq!(self.data.len(), dims.iter().product::<usize>());
        Self {
            dims: dims.to_vec(),
            data: self.data.clone(),
        }
    }

    /// The same values with the axes in reverse order.
    fn reversed(&self) -> Self {
        let dims: Vec<usize> = self.dims.iter().rev().copied().collect();
        Self::from_fn(&dims, |index| {
            let index: Vec<usize> = index.iter().rev().copied().collect();
            self.at(&index)
        })
    }
}

/// Values from a counter: the same in every run and on every machine.
#[derive(Debug)]
pub(super) struct Values(u64);

impl Values {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Uniform in [-1, 1), as an f32 so that every float type holds the same number.
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = (z ^ (z >> 31)) >> 40;
        f64::from(z as u32) / f64::from(1 << 23) - 1.0
    }

    pub(super) fn array(&mut self, dims: &[usize]) -> Array {
        Array::from_fn(dims, |_| self.next())
    }
}

/// How an input lies in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Storage {
    Contiguous,
    /// A view with its axes in reverse order.
    Reversed,
    /// A view that starts inside its buffer.
    Offset,
}

/// The inputs of an operation under test, in one float type and one storage.
pub(super) struct Given<'a> {
    arrays: &'a [Array],
    leaves: Vec<Tensor<1>>,
    storage: Storage,
}

impl<'a> Given<'a> {
    fn new(arrays: &'a [Array], device: &Device, dtype: DType, storage: Storage) -> Self {
        let leaves = arrays
            .iter()
            .map(|array| {
                let values = match storage {
                    Storage::Contiguous => array.data.clone(),
                    Storage::Reversed => array.reversed().data,
                    Storage::Offset => [&[f64::NAN; 3], array.data.as_slice()].concat(),
                };
                vector(values, device, dtype)
            })
            .collect();
        Self {
            arrays,
            leaves,
            storage,
        }
    }

    /// Input number `i`.
    pub(super) fn get<const D: usize>(&self, i: usize) -> Tensor<D> {
        let dims: [usize; D] = self.arrays[i].dims.clone().try_into().unwrap();
        let leaf = self.leaves[i].clone();
        if dims.contains(&0) {
            // To Burn's reshape a zero means "as it was".
            return Tensor::zeros(dims, (&leaf.device(), leaf.dtype()));
        }
        match self.storage {
            Storage::Contiguous => leaf.reshape(dims),
            Storage::Offset => {
                let length: usize = dims.iter().product();
                leaf.narrow(0, 3, length).reshape(dims)
            }
            Storage::Reversed => {
                let mut reversed = dims;
                reversed.reverse();
                let axes: [usize; D] = core::array::from_fn(|axis| D - 1 - axis);
                leaf.reshape(reversed).permute(axes)
            }
        }
    }

    /// Input number `i`, if the operation has one.
    pub(super) fn maybe<const D: usize>(&self, i: usize) -> Option<Tensor<D>> {
        (i < self.arrays.len()).then(|| self.get(i))
    }
}

/// A vector of the given float type.
pub(super) fn vector(values: Vec<f64>, device: &Device, dtype: DType) -> Tensor<1> {
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), (device, dtype))
}

/// The values of a tensor.
pub(super) fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data_as::<f64>().try_to_vec().unwrap()
}

/// Asserts that `got` equals `expected` up to `tolerance` times the largest expected value.
#[track_caller]
pub(super) fn assert_close(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}: number of elements");
    let scale = expected.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!(
            (g - e).abs() <= tolerance * scale,
            "{what}: element {i} is {g}, expected {e}, scale {scale}"
        );
    }
}

/// An operation as the tests see it: named inputs in, one tensor out.
pub(super) struct Case<'a, const D: usize> {
    pub(super) name: String,
    pub(super) inputs: Vec<Array>,
    pub(super) op: &'a dyn Fn(&Given<'_>) -> Tensor<D>,
    pub(super) oracle: &'a dyn Fn(&[Array]) -> Array,
}

impl<const D: usize> Case<'_, D> {
    /// Compares values for every storage and float type.
    #[track_caller]
    pub(super) fn check(&self) {
        let storages = [Storage::Contiguous, Storage::Reversed, Storage::Offset];
        for storage in storages {
            self.check_as(DType::F32, storage, 3e-6);
        }
        self.check_as(DType::F64, Storage::Contiguous, 1e-12);
        self.check_as(DType::BF16, Storage::Contiguous, 1.5e-2);
    }

    #[track_caller]
    fn check_as(&self, dtype: DType, storage: Storage, tolerance: f64) {
        let name = format!("{} ({dtype:?}, {storage:?})", self.name);
        let inputs: Vec<Array> = self.inputs.iter().map(|x| round(x, dtype)).collect();
        let got = (self.op)(&Given::new(&inputs, &Device::flex(), dtype, storage));
        let expected = (self.oracle)(&inputs);
        assert_eq!(got.dims().to_vec(), expected.dims, "{name}: shape");
        assert_eq!(got.dtype(), dtype, "{name}: type");
        assert_close(&name, &values(got), &expected.data, tolerance);
    }

    /// Compares the gradient of every input with central differences of the oracle.
    #[track_caller]
    pub(super) fn check_gradients(&self) {
        if self.inputs.iter().any(|x| x.data.is_empty()) {
            return;
        }
        let device = Device::flex().autodiff();
        let mut given = Given::new(&self.inputs, &device, DType::F32, Storage::Contiguous);
        given.leaves = given.leaves.drain(..).map(Tensor::require_grad).collect();
        let output = (self.op)(&given);
        let dims = output.dims();
        let pull = Values::new(99).array(&dims).data;
        let weights = vector(pull.clone(), &device, DType::F32).reshape(dims);
        let gradients = (output * weights).sum().backward();
        for (i, leaf) in given.leaves.iter().enumerate() {
            let name = format!("{}, gradient of input {i}", self.name);
            let got = leaf
                .grad(&gradients)
                .unwrap_or_else(|| panic!("{name}: none"));
            let expected = self.differences(i, &pull);
            assert_close(&name, &values(got), &expected, 2e-5);
        }
    }

    fn differences(&self, input: usize, pull: &[f64]) -> Vec<f64> {
        const STEP: f64 = 1e-4;
        let loss = |element: usize, change: f64| -> f64 {
            let mut inputs = self.inputs.clone();
            inputs[input].data[element] += change;
            let output = (self.oracle)(&inputs);
            output.data.iter().zip(pull).map(|(y, w)| y * w).sum()
        };
        (0..self.inputs[input].data.len())
            .map(|i| (loss(i, STEP) - loss(i, -STEP)) / (2.0 * STEP))
            .collect()
    }
}

/// `x` as the numbers that `dtype` can hold.
fn round(x: &Array, dtype: DType) -> Array {
    if dtype != DType::BF16 {
        return x.clone();
    }
    let rounded = vector(x.data.clone(), &Device::flex(), DType::F32).cast(FloatDType::BF16);
    Array {
        dims: x.dims.clone(),
        data: values(rounded),
    }
}
