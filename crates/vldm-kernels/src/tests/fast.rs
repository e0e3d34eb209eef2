//! The fast bodies against the composed ones: outputs and every gradient, over random shapes, with
//! weights in any layout.

use burn::tensor::{DType, Device, Distribution, Gradients, Tensor};

use crate::{
    Activation, AdamW, AdamWStep, AttentionMask, Conv2dOptions, Conv3dOptions, Ema, Epilogue,
    Moments, Norm, Padding, composed,
};

/// Random tensors whose gradients are wanted, by the order in which they were made.
struct Operands {
    device: Device,
    seed: u64,
}

impl Operands {
    fn new(seed: u64) -> Self {
        Self {
            device: Device::flex().autodiff(),
            seed,
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.seed >> 33) as usize % end
    }

    fn tensor<const D: usize>(&mut self, dims: [usize; D]) -> Tensor<D> {
        self.seed += 1;
        self.device.seed(self.seed);
        Tensor::random(dims, Distribution::Normal(0.0, 1.0), &self.device).require_grad()
    }
}

fn largest<const D: usize>(x: Tensor<D>) -> f32 {
    x.abs().max().into_scalar::<f32>()
}

fn assert_near<const D: usize>(what: &str, fast: Tensor<D>, composed: Tensor<D>) {
    assert_eq!(fast.dims(), composed.dims(), "{what}");
    let (fast, composed) = (fast.without_autodiff(), composed.without_autodiff());
    let scale = largest(composed.clone()).max(1.0);
    let error = largest(fast - composed);
    assert!(error <= 2e-5 * scale, "{what}: {error:e} of {scale:e}");
}

/// Gradients of a fixed weighting of the outputs.
fn gradients<const D: usize>(y: Tensor<D>) -> Gradients {
    let elements = y.shape().num_elements();
    let weights: Vec<f32> = (0..elements)
        .map(|i| ((i * 37) % 17) as f32 / 8.0 - 1.0)
        .collect();
    let weights = Tensor::<1>::from_floats(&weights[..], &y.device()).reshape(y.dims());
    (y * weights).sum().backward()
}

/// Compares the outputs of two bodies, and the gradients of the named operands.
macro_rules! compare {
    ($what:expr, $fast:expr, $composed:expr; $($operand:ident),+) => {{
        let (fast, composed) = ($fast, $composed);
        assert_near($what, fast.clone(), composed.clone());
        let (fast, composed) = (gradients(fast), gradients(composed));
        $(
            let name = format!("{}, gradient of {}", $what, stringify!($operand));
            let got = $operand.grad(&fast).expect("a gradient");
            assert_near(&name, got, $operand.grad(&composed).expect("a gradient"));
        )+
    }};
}

#[test]
fn image_convolutions() {
    let mut operands = Operands::new(1);
    for _ in 0..12 {
        let [n, h, w] = [
            1 + operands.below(3),
            1 + operands.below(9),
            1 + operands.below(9),
        ];
        let [a, b, out] = [
            1 + operands.below(20),
            1 + operands.below(20),
            1 + operands.below(40),
        ];
        let options = Conv2dOptions {
            stride: 1 + operands.below(2),
            padding: Padding {
                top: 1,
                bottom: 2,
                left: 2,
                right: 1,
            },
        };
        let [x, second] = [a, b].map(|channels| operands.tensor([n, h, w, channels]));
        let weight = operands.tensor([out, a + b, 3, 3]);
        let (bias, shift) = (operands.tensor([out]), operands.tensor([n, out]));
        let height = h / options.stride + 1;
        let width = w / options.stride + 1;
        let residual = operands.tensor([n, height, width, out]);
        let epilogue = || Epilogue {
            shift: Some(shift.clone()),
            residual: Some(residual.clone()),
        };
        let x_pair = || (x.clone(), second.clone());
        let bias_there = || Some(bias.clone());
        compare!(
            &format!("conv2d {n}x{h}x{w}, {a}+{b} to {out}, {options:?}"),
            crate::conv2d(x_pair(), weight.clone(), bias_there(), options, epilogue()),
            composed::conv2d(x_pair(), weight.clone(), bias_there(), options, epilogue());
            x, second, weight, bias, shift, residual
        );
    }
}

#[test]
fn convolutions_over_time() {
    let mut operands = Operands::new(2);
    let x = operands.tensor([2, 5, 6, 11]);
    let weight = operands.tensor([7, 11, 3, 1, 1]);
    let bias = operands.tensor([7]);
    let none = Epilogue::default;
    compare!(
        "temporal_conv",
        crate::temporal_conv(x.clone(), weight.clone(), Some(bias.clone()), none()),
        composed::temporal_conv(x.clone(), weight.clone(), Some(bias.clone()), none());
        x, weight, bias
    );
    let options = Conv3dOptions {
        stride: [1, 2, 1],
        padding: [1, 0, 1],
    };
    let x = operands.tensor([2, 4, 5, 6, 9]);
    let weight = operands.tensor([10, 9, 3, 2, 3]);
    compare!(
        "conv3d",
        crate::conv3d(x.clone(), weight.clone(), None, options, Epilogue::default()),
        composed::conv3d(x.clone(), weight.clone(), None, options, Epilogue::default());
        x, weight
    );
}

#[test]
fn linear_layers() {
    let mut operands = Operands::new(3);
    for [rows, inputs, out] in [[1, 1, 2], [7, 300, 66], [65, 33, 130]] {
        let x = operands.tensor([1, rows, inputs]);
        let (weight, bias) = (operands.tensor([out, inputs]), operands.tensor([out]));
        let residual = operands.tensor([1, rows, out]);
        let rest = || (weight.clone(), Some(bias.clone()));
        compare!(
            "linear",
            crate::linear(x.clone(), rest().0, rest().1, Some(residual.clone())),
            composed::linear(x.clone(), rest().0, rest().1, Some(residual.clone()));
            x, weight, bias, residual
        );
        compare!(
            "linear_geglu",
            crate::linear_geglu(x.clone(), rest().0, rest().1),
            composed::linear_geglu(x.clone(), rest().0, rest().1);
            x, weight, bias
        );
    }
}

#[test]
fn normalisations() {
    let mut operands = Operands::new(4);
    let (x, second) = (operands.tensor([2, 9, 8]), operands.tensor([2, 9, 4]));
    let (weight, bias) = (operands.tensor([12]), operands.tensor([12]));
    let norm = || Norm {
        weight: weight.clone(),
        bias: bias.clone(),
        eps: 1e-5,
    };
    let pair = || (x.clone(), second.clone());
    compare!(
        "group_norm",
        crate::group_norm(pair(), norm(), 4, Activation::Silu),
        composed::group_norm(pair(), norm(), 4, Activation::Silu);
        x, second, weight, bias
    );
    let x = operands.tensor([3, 5, 12]);
    compare!(
        "layer_norm",
        crate::layer_norm(x.clone(), norm()),
        composed::layer_norm(x.clone(), norm());
        x, weight, bias
    );
}

#[test]
fn attentions() {
    let mut operands = Operands::new(5);
    let q = operands.tensor([2, 9, 24]);
    let [k, v] = [0; 2].map(|_| operands.tensor([2, 7, 24]));
    let inputs = || (q.clone(), k.clone(), v.clone());
    let attend = |(q, k, v)| crate::attention(q, k, v, 3, AttentionMask::None);
    let expected = |(q, k, v)| composed::attention(q, k, v, 3, AttentionMask::None);
    compare!("attention", attend(inputs()), expected(inputs()); q, k, v);
    let [q, k, v] = [0; 3].map(|_| operands.tensor([2, 6, 5, 16]));
    let inputs = || (q.clone(), k.clone(), v.clone());
    let attend = |(q, k, v)| crate::temporal_attention(q, k, v, 2, Some(2));
    let expected = |(q, k, v)| composed::temporal_attention(q, k, v, 2, Some(2));
    compare!("temporal_attention", attend(inputs()), expected(inputs()); q, k, v);
}

#[test]
fn pointwise_operations() {
    let mut operands = Operands::new(6);
    let x = operands.tensor([2, 3, 4, 5]);
    let y = operands.tensor([2, 3, 4, 5]);
    compare!("silu", crate::silu(x.clone()), composed::silu(x.clone()); x);
    compare!("gelu", crate::gelu(x.clone()), composed::gelu(x.clone()); x);
    compare!("gelu_tanh", crate::gelu_tanh(x.clone()), composed::gelu_tanh(x.clone()); x);
    compare!("quick_gelu", crate::quick_gelu(x.clone()), composed::quick_gelu(x.clone()); x);
    for weights in [1, 3] {
        let alpha = operands.tensor([weights]);
        let inputs = || (x.clone(), y.clone(), alpha.clone());
        let mix = |(x, y, alpha)| crate::mix(x, y, alpha);
        let expected = |(x, y, alpha)| composed::mix(x, y, alpha);
        compare!("mix", mix(inputs()), expected(inputs()); x, y, alpha);
    }
    let shift = operands.tensor([3, 5]);
    compare!(
        "add_per_frame",
        crate::add_per_frame(x.clone(), shift.clone()),
        composed::add_per_frame(x.clone(), shift.clone());
        x, shift
    );
    compare!(
        "upsample_nearest",
        crate::upsample_nearest(x.clone(), 7, 9),
        composed::upsample_nearest(x.clone(), 7, 9);
        x
    );
}

#[test]
fn upsampling_inside_a_convolution() {
    let device = Device::flex();
    let tensor =
        |dims: [usize; 4]| Tensor::<4>::random(dims, Distribution::Normal(0.0, 1.0), &device);
    let (x, weight) = (tensor([2, 4, 5, 6]), tensor([7, 6, 3, 3]));
    let options = Conv2dOptions::same(3);
    let expected = composed::conv2d(
        composed::upsample_nearest(x.clone(), 7, 10),
        weight.clone(),
        None,
        options,
        Epilogue::default(),
    );
    let got = crate::conv2d_upsampled(x, [7, 10], weight, None, options.padding);
    assert_near("conv2d_upsampled", got, expected);
}

/// An arranged weight computes the same bits, holds the same values, and is trained alike.
#[test]
fn arranged_weights() {
    let device = Device::flex();
    let tensor =
        |dims: [usize; 4]| Tensor::<4>::random(dims, Distribution::Normal(0.0, 1.0), &device);
    let (x, weight) = (tensor([2, 4, 5, 6]), tensor([7, 6, 3, 2]));
    let arranged = crate::arrange(weight.clone());
    assert_eq!(arranged.to_data(), weight.to_data());
    let run = |weight| {
        crate::conv2d(
            x.clone(),
            weight,
            None,
            Conv2dOptions::default(),
            Epilogue::default(),
        )
    };
    assert_eq!(
        run(arranged.clone()).to_data(),
        run(weight.clone()).to_data()
    );

    let gradient = tensor([7, 6, 3, 2]);
    let train = |parameter: Tensor<4>, gradient: Tensor<4>| {
        let flat = crate::memory_order(parameter.clone());
        let mut moments = Moments::zeros_like(&flat);
        let mut ema = Ema {
            average: flat,
            decay: 0.5,
        };
        let config = AdamW {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            weight_decay: 0.1,
        };
        let step = |number| AdamWStep {
            config,
            number,
            gradient_scale: 0.5,
        };
        let average = Some(&mut ema);
        let parameter = crate::adamw(parameter, gradient.clone(), &mut moments, average, step(1));
        crate::adamw(parameter, gradient, &mut moments, Some(&mut ema), step(2)).to_data()
    };
    let expected = train(weight.clone(), gradient.clone());
    assert_eq!(train(arranged.clone(), gradient.clone()), expected);
    assert_eq!(train(arranged, crate::arrange(gradient.clone())), expected);
    assert_eq!(train(weight, crate::arrange(gradient)), expected);
}

/// In half precision a weight may be packed: the same bits, and the same values once it is undone.
#[test]
fn packed_weights() {
    let device = Device::flex();
    let half = |tensor: Tensor<2>| tensor.cast(DType::BF16);
    let normal = |dims: [usize; 2]| {
        half(Tensor::random(
            dims,
            Distribution::Normal(0.0, 1.0),
            &device,
        ))
    };
    // A gate of whole panels, and one that ends within a panel.
    for [inputs, outputs] in [[40, 128], [40, 36]] {
        let (x, weight) = (normal([50, inputs]), normal([outputs, inputs]));
        let packed = crate::pack(weight.clone());
        assert_eq!(packed.dims(), weight.dims());
        assert_eq!(crate::unpack(packed.clone()).to_data(), weight.to_data());
        let run = |weight: Tensor<2>| {
            let y = crate::linear(x.clone(), weight.clone(), None, None).to_data();
            (y, crate::linear_geglu(x.clone(), weight, None).to_data())
        };
        assert_eq!(run(packed.clone()), run(weight.clone()));
        // Activations in f32 read it too, and so does what is composed: rows that are none.
        let wide = |weight| crate::linear(x.clone().cast(DType::F32), weight, None, None).to_data();
        assert_eq!(wide(packed.clone()), wide(weight));
        let none = Tensor::<2>::empty([0, inputs], (&device, DType::BF16));
        let y = crate::linear(none, packed, None, None);
        assert_eq!(y.dims(), [0, outputs]);
    }
}

/// What a fast body does not take is computed all the same.
#[test]
fn other_types_are_composed() {
    let x = Tensor::<2>::ones([2, 3], (&Device::flex(), DType::F64));
    let weight = Tensor::<2>::ones([4, 3], (&Device::flex(), DType::F64));
    let y = crate::linear(x, weight, None, None);
    assert_eq!(y.dtype(), DType::F64);
    assert_eq!(y.into_data().try_to_vec::<f64>().unwrap(), [3.0; 8]);
}
