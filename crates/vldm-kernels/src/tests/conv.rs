//! Convolutions against plain loops in f64, forward and backward.

use super::{
    check::{Array, Case, Given, Values},
    reference::{self, Window},
};
use crate::{
    Channels, Conv2dOptions, Conv3dOptions, Epilogue, Padding, conv2d, conv3d, temporal_conv,
};

/// Which of the optional inputs a case has.
#[derive(Debug, Clone, Copy, Default)]
struct With {
    /// Channels of a second input.
    second: Option<usize>,
    bias: bool,
    shift: bool,
    residual: bool,
}

const PLAIN: With = With {
    second: None,
    bias: false,
    shift: false,
    residual: false,
};

const ALL: With = With {
    second: Some(3),
    bias: true,
    shift: true,
    residual: true,
};

/// The inputs of a convolution, in the order: x, weight, then what `with` asks for.
struct Inputs {
    arrays: Vec<Array>,
    second: Option<usize>,
    bias: Option<usize>,
    shift: Option<usize>,
    residual: Option<usize>,
}

impl Inputs {
    /// `weight` is given without its number of inputs; `y` is the shape of the output.
    fn new(x: &[usize], weight: &[usize], y: &[usize], images: usize, with: With) -> Self {
        let mut values = Values::new(8);
        let inputs = x[x.len() - 1] + with.second.unwrap_or(0);
        let out = weight[0];
        let mut weight = weight.to_vec();
        weight.insert(1, inputs);
        let mut arrays = vec![values.array(x), values.array(&weight)];
        let mut add = |dims: Option<Vec<usize>>| {
            dims.map(|dims| {
                arrays.push(values.array(&dims));
                arrays.len() - 1
            })
        };
        let second = add(with
            .second
            .map(|channels| [&x[..x.len() - 1], &[channels]].concat()));
        let bias = add(with.bias.then(|| vec![out]));
        let shift = add(with.shift.then(|| vec![images, out]));
        let residual = add(with.residual.then(|| y.to_vec()));
        Self {
            arrays,
            second,
            bias,
            shift,
            residual,
        }
    }

    fn channels<const D: usize>(&self, given: &Given<'_>) -> Channels<D> {
        match self.second {
            Some(second) => Channels::Two(given.get(0), given.get(second)),
            None => given.get(0).into(),
        }
    }

    fn epilogue<const D: usize>(&self, given: &Given<'_>) -> Epilogue<D> {
        Epilogue {
            shift: self.shift.map(|i| given.get(i)),
            residual: self.residual.map(|i| given.get(i)),
        }
    }

    /// The oracle: views of the input and the weight as clips, then loops.
    fn oracle(&self, given: &[Array], x: [usize; 4], kernel: [usize; 3], window: Window) -> Array {
        let part = |x_part: &Array| {
            let channels = x_part.dims[x_part.dims.len() - 1];
            x_part.reshape(&[x[0], x[1], x[2], x[3], channels])
        };
        let input = match self.second {
            Some(second) => reference::concat(&part(&given[0]), &part(&given[second])),
            None => part(&given[0]),
        };
        let [out, inputs] = [given[1].dims[0], given[1].dims[1]];
        let weight = given[1].reshape(&[out, inputs, kernel[0], kernel[1], kernel[2]]);
        let y = reference::conv(&input, &weight, self.bias.map(|i| &given[i]), window);
        let [shift, residual] = [self.shift, self.residual].map(|at| at.map(|i| &given[i]));
        reference::epilogue(&y, shift, residual)
    }
}

fn run<const D: usize>(case: &Case<'_, D>) {
    case.check();
    if case.inputs.iter().map(|x| x.data.len()).sum::<usize>() < 400 {
        case.check_gradients();
    }
}

fn check_conv2d(x: [usize; 4], out: usize, kernel: [usize; 2], options: Conv2dOptions, with: With) {
    let [n, h, w, _] = x;
    let padding = options.padding;
    let size = |input: usize, kernel: usize| (input - kernel) / options.stride + 1;
    let y = [
        n,
        size(h + padding.top + padding.bottom, kernel[0]),
        size(w + padding.left + padding.right, kernel[1]),
        out,
    ];
    let inputs = Inputs::new(&x, &[out, kernel[0], kernel[1]], &y, n, with);
    let window = Window {
        stride: [1, options.stride, options.stride],
        before: [0, padding.top, padding.left],
        after: [0, padding.bottom, padding.right],
    };
    run(&Case {
        name: format!("conv2d {x:?} -> {out}, kernel {kernel:?}, {options:?}, {with:?}"),
        inputs: inputs.arrays.clone(),
        op: &|given: &Given<'_>| {
            let bias = inputs.bias.map(|i| given.get(i));
            let epilogue = inputs.epilogue(given);
            conv2d(
                inputs.channels::<4>(given),
                given.get(1),
                bias,
                options,
                epilogue,
            )
        },
        oracle: &|given: &[Array]| {
            inputs
                .oracle(given, [n, 1, h, w], [1, kernel[0], kernel[1]], window)
                .reshape(&y)
        },
    });
}

#[test]
fn conv2d_3x3() {
    let same = Conv2dOptions::same(3);
    check_conv2d([2, 4, 5, 3], 2, [3, 3], same, PLAIN);
    check_conv2d([2, 3, 2, 2], 3, [3, 3], same, ALL);
    check_conv2d([1, 1, 1, 5], 3, [3, 3], same, ALL);
    check_conv2d([3, 9, 7, 17], 33, [3, 3], same, ALL);
    check_conv2d([0, 4, 5, 3], 2, [3, 3], same, ALL);
}

#[test]
fn conv2d_1x1() {
    check_conv2d([2, 4, 5, 3], 2, [1, 1], Conv2dOptions::default(), PLAIN);
    check_conv2d([2, 3, 2, 2], 3, [1, 1], Conv2dOptions::default(), ALL);
    check_conv2d([2, 6, 6, 19], 11, [1, 1], Conv2dOptions::default(), ALL);
    check_conv2d([0, 6, 6, 19], 11, [1, 1], Conv2dOptions::default(), ALL);
}

#[test]
fn conv2d_with_stride_and_padding() {
    let two = |padding| Conv2dOptions { stride: 2, padding };
    // What a U-Net's downsampler and an autoencoder's do.
    let right_and_bottom = Padding {
        bottom: 1,
        right: 1,
        ..Padding::NONE
    };
    check_conv2d([2, 4, 6, 2], 3, [3, 3], two(Padding::same(1)), ALL);
    check_conv2d([2, 5, 3, 2], 3, [3, 3], two(Padding::same(1)), PLAIN);
    check_conv2d([2, 4, 6, 2], 3, [3, 3], two(right_and_bottom), ALL);
    check_conv2d([1, 5, 7, 2], 3, [3, 3], two(right_and_bottom), PLAIN);
    check_conv2d([1, 4, 4, 2], 3, [1, 1], two(Padding::NONE), ALL);
    let uneven = Padding {
        top: 2,
        bottom: 0,
        left: 1,
        right: 3,
    };
    let options = Conv2dOptions {
        stride: 1,
        padding: uneven,
    };
    check_conv2d([1, 4, 3, 2], 3, [3, 2], options, ALL);
    // A vision transformer's patches.
    let patches = Conv2dOptions {
        stride: 4,
        padding: Padding::NONE,
    };
    check_conv2d([1, 8, 8, 3], 5, [4, 4], patches, PLAIN);
}

/// Large enough for the windowed body.
#[test]
fn conv2d_of_a_large_image() {
    check_conv2d([1, 24, 30, 17], 16, [3, 3], Conv2dOptions::same(3), ALL);
    check_conv2d([2, 23, 29, 16], 19, [3, 3], Conv2dOptions::same(3), PLAIN);
    let uneven = Padding {
        top: 2,
        bottom: 0,
        left: 1,
        right: 0,
    };
    let options = Conv2dOptions {
        stride: 1,
        padding: uneven,
    };
    check_conv2d([1, 30, 31, 16], 16, [3, 2], options, ALL);
}

fn check_temporal(x: [usize; 4], out: usize, with: With) {
    let [b, f, p, _] = x;
    let y = [b, f, p, out];
    let inputs = Inputs::new(&x, &[out, 3, 1, 1], &y, b * f, with);
    run(&Case {
        name: format!("temporal_conv {x:?} -> {out}, {with:?}"),
        inputs: inputs.arrays.clone(),
        op: &|given: &Given<'_>| {
            let bias = inputs.bias.map(|i| given.get(i));
            let epilogue = inputs.epilogue(given);
            temporal_conv(inputs.channels::<4>(given), given.get(1), bias, epilogue)
        },
        oracle: &|given: &[Array]| {
            inputs
                .oracle(given, [b, f, p, 1], [3, 1, 1], Window::same([1, 0, 0]))
                .reshape(&y)
        },
    });
}

#[test]
fn temporal_conv_is_right() {
    check_temporal([2, 4, 3, 2], 3, PLAIN);
    check_temporal([2, 3, 2, 2], 3, ALL);
    check_temporal([2, 1, 3, 2], 3, ALL);
    check_temporal([1, 2, 1, 1], 1, ALL);
    check_temporal([2, 5, 9, 17], 33, ALL);
    check_temporal([0, 5, 9, 17], 33, ALL);
}

fn check_conv3d(x: [usize; 5], out: usize, kernel: [usize; 3], options: Conv3dOptions, with: With) {
    let [b, f, h, w, _] = x;
    let size = |axis: usize, input: usize| {
        (input + 2 * options.padding[axis] - kernel[axis]) / options.stride[axis] + 1
    };
    let y = [b, size(0, f), size(1, h), size(2, w), out];
    let weight = [out, kernel[0], kernel[1], kernel[2]];
    let inputs = Inputs::new(&x, &weight, &y, b * y[1], with);
    let window = Window {
        stride: options.stride,
        before: options.padding,
        after: options.padding,
    };
    run(&Case {
        name: format!("conv3d {x:?} -> {out}, kernel {kernel:?}, {options:?}, {with:?}"),
        inputs: inputs.arrays.clone(),
        op: &|given: &Given<'_>| {
            let bias = inputs.bias.map(|i| given.get(i));
            let epilogue = inputs.epilogue(given);
            conv3d(
                inputs.channels::<5>(given),
                given.get(1),
                bias,
                options,
                epilogue,
            )
        },
        oracle: &|given: &[Array]| inputs.oracle(given, [b, f, h, w], kernel, window),
    });
}

#[test]
fn conv3d_is_right() {
    let options = |stride, padding| Conv3dOptions { stride, padding };
    let same = options([1; 3], [1; 3]);
    check_conv3d([1, 3, 3, 2, 1], 2, [3, 3, 3], same, PLAIN);
    check_conv3d([2, 2, 2, 2, 1], 2, [3, 3, 3], same, ALL);
    check_conv3d([1, 1, 1, 1, 2], 2, [3, 3, 3], same, ALL);
    check_conv3d(
        [1, 3, 4, 4, 1],
        2,
        [3, 4, 4],
        options([1, 2, 2], [1, 1, 1]),
        ALL,
    );
    check_conv3d(
        [1, 5, 3, 3, 2],
        2,
        [3, 1, 1],
        options([2, 1, 1], [0; 3]),
        ALL,
    );
    check_conv3d([1, 3, 6, 5, 9], 18, [3, 3, 3], same, ALL);
    check_conv3d([0, 3, 6, 5, 9], 18, [3, 3, 3], same, ALL);
}
