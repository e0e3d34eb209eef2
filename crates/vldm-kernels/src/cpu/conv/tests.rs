//! Against straightforward loops in f64, over random shapes, on every level.

use half::bf16;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::super::element::Element;
use super::super::level::Level;
use super::winograd::Winograd;
use super::{
    Additions, Axis, Conv, Lines, Output, Weights, forward, input_gradient, linear_geglu, pack,
    packed_len, packed_shape, products, unpack, weight_gradient,
};
use crate::memory::pool::Buffer;

struct Numbers(ChaCha8Rng);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0.next_u32() as usize % end
    }

    fn between(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    fn values<T: Element>(&mut self, count: usize) -> Vec<T> {
        let value = |rng: &mut ChaCha8Rng| (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0;
        (0..count).map(|_| T::narrow(value(&mut self.0))).collect()
    }
}

/// A convolution of a random shape and its operands.
struct Case<T> {
    conv: Conv,
    x: [Vec<T>; 2],
    /// `[taps, inputs, outputs]`
    weight: Vec<f32>,
    bias: Vec<f32>,
    shift: Vec<T>,
    residual: Vec<T>,
    dy: Vec<T>,
}

impl<T: Element> Case<T> {
    fn random(numbers: &mut Numbers) -> Self {
        let axes = [3, 9, 40].map(|most| axis(numbers, most));
        let conv = Conv {
            batch: numbers.between(1, 3),
            axes,
            inputs: [numbers.between(1, 70), numbers.below(2) * numbers.below(50)],
            outputs: numbers.between(1, 100),
        };
        Self::of(conv, numbers)
    }

    fn of(conv: Conv, numbers: &mut Numbers) -> Self {
        let pixels: usize = conv.batch * conv.axes.iter().map(|axis| axis.input).product::<usize>();
        let outputs = conv.positions() * conv.outputs;
        let weights = conv.taps() * conv.input_channels() * conv.outputs;
        Self {
            conv,
            x: conv
                .inputs
                .map(|channels| numbers.values(pixels * channels)),
            // bf16 holds them exactly, so that levels which round weights can be compared.
            weight: numbers
                .values::<bf16>(weights)
                .iter()
                .map(|w| w.widen())
                .collect(),
            bias: numbers.values(conv.outputs),
            shift: numbers.values(conv.batch * conv.outputs),
            residual: numbers.values(outputs),
            dy: numbers.values(outputs),
        }
    }

    fn x(&self) -> [&[T]; 2] {
        self.x.each_ref().map(Vec::as_slice)
    }

    fn additions(&self) -> Additions<'_, T> {
        Additions {
            bias: Some(&self.bias),
            shift: Some(&self.shift),
            residual: Some(&self.residual),
        }
    }

    fn forward(&self, level: Level) -> Vec<T> {
        let mut y = vec![T::narrow(f32::NAN); self.dy.len()];
        forward(
            level,
            &self.conv,
            self.x(),
            &self.weight[..],
            self.additions(),
            &mut y,
        );
        y
    }

    fn input_gradient(&self, level: Level) -> [Vec<T>; 2] {
        let pixels = self.conv.scaled_positions();
        let nan = T::narrow(f32::NAN);
        let mut dx = self
            .conv
            .inputs
            .map(|channels| vec![nan; pixels * channels]);
        let to = dx.each_mut().map(Vec::as_mut_slice);
        input_gradient(level, &self.conv, &self.dy, &self.weight, to);
        dx
    }

    fn weight_gradient(&self, level: Level) -> Vec<f32> {
        let mut dweight = vec![f32::NAN; self.weight.len()];
        weight_gradient(level, &self.conv, self.x(), &self.dy, &mut dweight);
        dweight
    }
}

fn axis(numbers: &mut Numbers, most: usize) -> Axis {
    let input = numbers.between(1, most);
    let scaled = if numbers.below(4) == 0 {
        numbers.between(input, 2 * input)
    } else {
        input
    };
    let kernel = numbers.between(1, 3);
    let (before, after) = (numbers.below(kernel), numbers.below(kernel));
    // The padded input is at least as large as the kernel.
    let after = after + kernel.saturating_sub(scaled + before + after);
    Axis {
        input,
        scaled,
        kernel,
        stride: numbers.between(1, 2),
        before,
        after,
    }
}

/// Forward, gradient of the scaled input (both parts joined), gradient of the weight, in f64.
struct Expected {
    y: Vec<f64>,
    dx: Vec<f64>,
    dweight: Vec<f64>,
}

fn expected<T: Element>(case: &Case<T>) -> Expected {
    let Conv {
        batch,
        axes,
        inputs,
        outputs,
    } = case.conv;
    let channels = inputs[0] + inputs[1];
    let wide = |x: &T| f64::from(x.widen());
    let mut y: Vec<f64> = case.residual.iter().map(wide).collect();
    let mut dx = vec![0.0; case.conv.scaled_positions() * channels];
    let mut dweight = vec![0.0; case.weight.len()];
    let out = axes.map(|axis| axis.output());
    let kernel = axes.map(|axis| axis.kernel);
    let flat = |at: [usize; 3], size: [usize; 3]| (at[0] * size[1] + at[1]) * size[2] + at[2];
    let unflat =
        |i: usize, size: [usize; 3]| [i / size[1] / size[2], i / size[2] % size[1], i % size[2]];
    for b in 0..batch {
        for position in 0..out.iter().product() {
            let row = b * out.iter().product::<usize>() + position;
            for co in 0..outputs {
                y[row * outputs + co] +=
                    f64::from(case.bias[co]) + wide(&case.shift[b * outputs + co]);
            }
            for tap in 0..kernel.iter().product() {
                let (o, t) = (unflat(position, out), unflat(tap, kernel));
                let at: [i64; 3] = std::array::from_fn(|a| {
                    (o[a] * axes[a].stride + t[a]) as i64 - axes[a].before as i64
                });
                if (0..3).any(|a| at[a] < 0 || at[a] >= axes[a].scaled as i64) {
                    continue;
                }
                let scaled = at.map(|at| at as usize);
                let source = std::array::from_fn(|a| scaled[a] * axes[a].input / axes[a].scaled);
                let scaled_row = b * axes.iter().map(|a| a.scaled).product::<usize>()
                    + flat(scaled, axes.map(|a| a.scaled));
                let source_row = b * axes.iter().map(|a| a.input).product::<usize>()
                    + flat(source, axes.map(|a| a.input));
                for ci in 0..channels {
                    let x = if ci < inputs[0] {
                        case.x[0][source_row * inputs[0] + ci]
                    } else {
                        case.x[1][source_row * inputs[1] + ci - inputs[0]]
                    };
                    for co in 0..outputs {
                        let w = (tap * channels + ci) * outputs + co;
                        let dy = wide(&case.dy[row * outputs + co]);
                        y[row * outputs + co] += wide(&x) * f64::from(case.weight[w]);
                        dx[scaled_row * channels + ci] += dy * f64::from(case.weight[w]);
                        dweight[w] += wide(&x) * dy;
                    }
                }
            }
        }
    }
    Expected { y, dx, dweight }
}

fn assert_near<T: Element>(name: &str, got: &[T], expected: &[f64], accuracy: f64) {
    assert_eq!(got.len(), expected.len());
    let rounding = if T::IS_HALF { 1.0 / 256.0 } else { 0.0 };
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let bound = accuracy + (1e-6 + rounding) * expected.abs();
        let error = (f64::from(got.widen()) - expected).abs();
        assert!(
            error <= bound,
            "{name}[{at}]: {got:?} instead of {expected}, bound {bound:e}"
        );
    }
}

fn check<T: Element>(case: &Case<T>, level: Level) {
    let expected = expected(case);
    let Conv {
        inputs, outputs, ..
    } = case.conv;
    // Errors grow with the root of what is summed, and a transform adds its own.
    let accuracy = |transformed: bool, depth: usize| {
        let unit = if transformed { 4e-6 } else { 1e-6 };
        unit * (depth as f64).sqrt()
    };
    let transformed = Winograd::forward(&case.conv).is_some();
    let depth = case.conv.taps() * case.conv.input_channels();
    assert_near(
        "y",
        &case.forward(level),
        &expected.y,
        accuracy(transformed, depth),
    );

    let [first, second] = case.input_gradient(level);
    let [a, b] = inputs;
    let mut joined = Vec::with_capacity(expected.dx.len());
    for row in 0..case.conv.scaled_positions() {
        joined.extend_from_slice(&first[row * a..][..a]);
        joined.extend_from_slice(&second[row * b..][..b]);
    }
    let transformed = Winograd::backward(&case.conv).is_some();
    let depth = case.conv.taps() * outputs;
    assert_near("dx", &joined, &expected.dx, accuracy(transformed, depth));

    let got = case.weight_gradient(level);
    let transformed = Winograd::weight(&case.conv).is_some();
    let depth = case.conv.positions();
    let accuracy = accuracy(transformed, depth);
    assert_near("dweight", &got, &expected.dweight, accuracy);
}

/// An axis whose size three taps keep.
fn same(size: usize) -> Axis {
    Axis {
        before: 1,
        after: 1,
        kernel: 3,
        ..Axis::point(size)
    }
}

#[test]
fn random_shapes_equal_loops() {
    let mut numbers = Numbers::new(1);
    for _ in 0..30 {
        let single = Case::<f32>::random(&mut numbers);
        let half = Case::<bf16>::random(&mut numbers);
        for level in Level::available() {
            check(&single, level);
            check(&half, level);
        }
    }
}

#[test]
fn large_shapes_cross_every_block() {
    let mut numbers = Numbers::new(2);
    let conv = Conv {
        batch: 2,
        axes: [Axis::point(1), same(23), same(31)],
        inputs: [130, 70],
        outputs: 70,
    };
    let case = Case::<f32>::of(conv, &mut numbers);
    for level in Level::available() {
        check(&case, level);
    }
    let wide = Case::<f32>::of(Conv::linear(13, 40, 1100), &mut numbers);
    check(&wide, Level::best());
}

#[test]
fn bits_depend_on_neither_threads_nor_batch() {
    let mut numbers = Numbers::new(3);
    let conv = Conv {
        batch: 3,
        axes: [Axis::point(2), same(13), same(17)],
        inputs: [40, 25],
        outputs: 70,
    };
    let case = Case::<f32>::of(conv, &mut numbers);
    for level in Level::available() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                (
                    case.forward(level),
                    case.input_gradient(level),
                    case.weight_gradient(level),
                )
            })
        };
        let one = run(1);
        assert!(run(2) == one && run(3) == one);
        for sample in 0..3 {
            let part = |v: &[f32]| v[sample * v.len() / 3..(sample + 1) * v.len() / 3].to_vec();
            let alone = Case {
                conv: Conv { batch: 1, ..conv },
                x: case.x.each_ref().map(|x| part(x)),
                weight: case.weight.clone(),
                bias: case.bias.clone(),
                shift: part(&case.shift),
                residual: part(&case.residual),
                dy: part(&case.dy),
            };
            assert!(alone.forward(level) == part(&one.0));
            assert!(alone.input_gradient(level)[0] == part(&one.1[0]));
        }
    }
}

#[test]
fn gated_output_equals_loops() {
    let mut numbers = Numbers::new(4);
    for (rows, inputs, inner) in [(1, 3, 5), (40, 64, 96), (300, 33, 530)] {
        let conv = Conv::linear(rows, inputs, 2 * inner);
        let x: Vec<f32> = numbers.values(rows * inputs);
        let weight: Vec<f32> = numbers.values(inputs * 2 * inner);
        let bias: Vec<f32> = numbers.values(2 * inner);
        let sum = |row: usize, column: usize| {
            let products = (0..inputs).map(|k| {
                f64::from(x[row * inputs + k]) * f64::from(weight[k * 2 * inner + column])
            });
            products.sum::<f64>() + f64::from(bias[column])
        };
        let expected: Vec<f64> = (0..rows * inner)
            .map(|at| {
                let gate = sum(at / inner, inner + at % inner);
                let cdf = 0.5 * (1.0 + libm::erf(gate * core::f64::consts::FRAC_1_SQRT_2));
                sum(at / inner, at % inner) * gate * cdf
            })
            .collect();
        for level in Level::available() {
            let mut y = vec![f32::NAN; rows * inner];
            let mut halves = vec![f32::NAN; 2 * y.len()];
            let bias = Some(&bias[..]);
            linear_geglu(
                level,
                &conv,
                &x,
                &weight[..],
                bias,
                &mut y,
                Some(&mut halves),
            );
            for (got, expected) in y.iter().zip(&expected) {
                assert!(
                    (f64::from(*got) - expected).abs() < 2e-5,
                    "{got} instead of {expected}"
                );
            }
            for (at, got) in halves.iter().enumerate() {
                let expected = sum(at / (2 * inner), at % (2 * inner));
                assert!((f64::from(*got) - expected).abs() < 2e-5);
            }
            let mut alone = vec![f32::NAN; y.len()];
            linear_geglu(level, &conv, &x, &weight[..], bias, &mut alone, None);
            assert!(y == alone);
        }
    }
}

#[test]
fn nothing_comes_of_nothing() {
    let mut numbers = Numbers::new(5);
    for level in Level::available() {
        check(&Case::<f32>::of(Conv::linear(0, 3, 4), &mut numbers), level);
        // No input channels: the additions alone.
        check(&Case::<f32>::of(Conv::linear(5, 0, 4), &mut numbers), level);
    }
}

#[cfg(unix)]
#[test]
fn nothing_is_touched_beside_the_operands() {
    check_guarded::<f32>(6);
    check_guarded::<bf16>(7);
}

#[cfg(unix)]
fn check_guarded<T: Element>(seed: u64) {
    use super::super::guarded::Guarded;

    let mut numbers = Numbers::new(seed);
    for at_end in [false, true] {
        for _ in 0..8 {
            let case = Case::<T>::random(&mut numbers);
            let floats = |values: &[f32]| Guarded::new(values, at_end);
            let guarded = |values: &[T]| Guarded::new(values, at_end);
            let x = case.x.each_ref().map(|x| guarded(x));
            let [weight, bias] = [&case.weight, &case.bias].map(|v| floats(v));
            let [shift, residual, dy] = [&case.shift, &case.residual, &case.dy].map(|v| guarded(v));
            let x = x.each_ref().map(|x| &x[..]);
            let additions = Additions {
                bias: Some(&bias),
                shift: Some(&shift),
                residual: Some(&residual),
            };
            for level in Level::available() {
                let mut y = guarded(&case.dy);
                forward(level, &case.conv, x, &weight[..], additions, &mut y);
                let pixels = case.conv.scaled_positions();
                let [mut first, mut second] = case
                    .conv
                    .inputs
                    .map(|channels| guarded(&vec![T::default(); pixels * channels]));
                input_gradient(level, &case.conv, &dy, &weight, [&mut first, &mut second]);
                let mut dweight = floats(&case.weight);
                weight_gradient(level, &case.conv, x, &dy, &mut dweight);
                assert!(y[..] == case.forward(level)[..]);
            }
        }
    }
}

#[test]
fn a_packed_weight_gives_the_bits_of_the_same_weight_unpacked() {
    if Level::best() < Level::Amx {
        return;
    }
    let mut numbers = Numbers::new(8);
    for _ in 0..20 {
        let case = Case::<bf16>::random(&mut numbers);
        let dims = [
            case.conv.outputs,
            case.conv.input_channels(),
            case.conv.taps(),
        ];
        let mut packed = Buffer::<bf16>::new(packed_len(dims));
        packed.fill(bf16::NAN);
        pack(Level::Amx, dims, &case.weight, &mut packed);
        let mut unpacked = vec![f32::NAN; case.weight.len()];
        unpack(dims, &packed, &mut unpacked);
        assert_eq!(unpacked, case.weight);

        let additions = Additions {
            bias: Some(&case.bias),
            shift: Some(&case.shift),
            residual: Some(&case.residual),
        };
        let mut y = vec![bf16::NAN; case.dy.len()];
        let weight = Weights::<f32>::Packed(&packed);
        forward(Level::Amx, &case.conv, case.x(), weight, additions, &mut y);
        assert_eq!(y, case.forward(Level::Amx));
    }
}

/// Shapes whose strips are found, and whose depth is cut, in every way there is.
fn strip_shapes() -> [Conv; 9] {
    let kernel = |size, kernel| Axis {
        kernel,
        before: kernel / 2,
        after: kernel / 2,
        ..Axis::point(size)
    };
    let point = Axis::point(1);
    [
        // Read in place: tokens, a kernel over time, one that is larger than what it moves over.
        ([point; 3], [64, 0], 40),
        ([kernel(5, 3), point, Axis::point(40)], [32, 0], 33),
        ([kernel(1, 3), kernel(2, 3), Axis::point(17)], [64, 0], 7),
        ([kernel(6, 3), point, Axis::point(3)], [32, 0], 9),
        // Copied: a kernel across, two parts, channels that are no whole step, wide lines.
        ([point, kernel(9, 3), kernel(33, 3)], [32, 32], 64),
        ([kernel(3, 3), kernel(4, 3), kernel(5, 3)], [20, 0], 65),
        ([point, point, kernel(2100, 3)], [3, 0], 2),
        // Deeper than a block of the depth, in one piece and in several.
        ([point, point, Axis::point(50)], [4200, 0], 32),
        ([point, kernel(3, 3), kernel(3, 3)], [1500, 100], 3),
    ]
    .map(|(axes, inputs, outputs)| Conv {
        batch: 2,
        axes,
        inputs,
        outputs,
    })
}

#[test]
fn strips_of_every_kind_equal_loops() {
    if Level::best() < Level::Amx {
        return;
    }
    let mut numbers = Numbers::new(9);
    for conv in strip_shapes() {
        check(&Case::<bf16>::of(conv, &mut numbers), Level::Amx);
    }
}

/// The same where there are no tiles, in plain arithmetic.
#[test]
fn strips_in_plain_arithmetic_equal_loops() {
    let mut numbers = Numbers::new(10);
    for conv in strip_shapes() {
        let case = Case::<bf16>::of(conv, &mut numbers);
        let dims = [conv.outputs, conv.input_channels(), conv.taps()];
        let mut packed = Buffer::<bf16>::new(packed_len(dims));
        packed.fill(bf16::NAN);
        pack(Level::Portable, dims, &case.weight, &mut packed);
        let mut y = vec![bf16::NAN; case.dy.len()];
        let lines = Lines::forward(&conv, case.x());
        let sink = Output::new(&mut y, conv.outputs, case.additions());
        products::plain_product_of_strips(&lines, &packed, packed_shape(dims), &sink);
        let depth = conv.taps() * conv.input_channels();
        let accuracy = 1e-6 * (depth as f64).sqrt();
        assert_near("y", &y, &expected(&case).y, accuracy);
    }
}
