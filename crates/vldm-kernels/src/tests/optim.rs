//! The optimiser against plain loops in f64, forward and backward.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::check::{Values, assert_close, values, vector};
use crate::{AdamW, AdamWStep, Ema, Moments, adamw, sum_squares};

fn config() -> AdamW {
    AdamW {
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.1,
    }
}

/// PyTorch's documented algorithm, one element at a time in f64.
#[derive(Clone, Copy, Default)]
struct Element {
    parameter: f64,
    first: f64,
    second: f64,
    average: f64,
}

impl Element {
    fn step(&mut self, gradient: f64, number: i32, decay: f64) {
        let AdamW {
            learning_rate,
            beta1,
            beta2,
            epsilon,
            weight_decay,
        } = config();
        self.parameter -= learning_rate * weight_decay * self.parameter;
        self.first = beta1 * self.first + (1.0 - beta1) * gradient;
        self.second = beta2 * self.second + (1.0 - beta2) * gradient * gradient;
        let first = self.first / (1.0 - beta1.powi(number));
        let second = self.second / (1.0 - beta2.powi(number));
        self.parameter -= learning_rate * first / (second.sqrt() + epsilon);
        self.average = decay * self.average + (1.0 - decay) * self.parameter;
    }
}

#[test]
fn adamw_follows_its_definition() {
    let (elements, device) = (37, Device::flex());
    let upload = |x: Vec<f64>| vector(x, &device, DType::F32);
    let mut random = Values::new(15);
    let start = random.array(&[elements]).data;
    let mut expected: Vec<Element> = start
        .iter()
        .map(|&parameter| Element {
            parameter,
            average: parameter,
            ..Element::default()
        })
        .collect();
    let mut parameter = upload(start);
    let mut moments = Moments::zeros_like(&parameter);
    let mut ema = Ema {
        average: parameter.clone(),
        decay: 0.9,
    };
    for number in 1..=10 {
        let gradient = random.array(&[elements]).data;
        let step = AdamWStep {
            config: config(),
            number,
            gradient_scale: 0.25,
        };
        let scaled = gradient.iter().map(|g| g * 0.25);
        for (element, gradient) in expected.iter_mut().zip(scaled) {
            element.step(gradient, number as i32, ema.decay);
        }
        let gradient = upload(gradient);
        parameter = adamw(parameter, gradient, &mut moments, Some(&mut ema), step);
    }
    let check = |what: &str, got: &Tensor<1>, expected: Vec<f64>| {
        assert_close(what, &values(got.clone()), &expected, 1e-6);
    };
    check(
        "parameter",
        &parameter,
        expected.iter().map(|e| e.parameter).collect(),
    );
    check(
        "first moment",
        &moments.first,
        expected.iter().map(|e| e.first).collect(),
    );
    check(
        "second moment",
        &moments.second,
        expected.iter().map(|e| e.second).collect(),
    );
    check(
        "average",
        &ema.average,
        expected.iter().map(|e| e.average).collect(),
    );
}

/// The first step moves every parameter by the learning rate, whatever the gradient's size.
#[test]
fn adamw_starts_with_a_step_of_the_learning_rate() {
    let upload = |x: &[f64]| vector(x.to_vec(), &Device::flex(), DType::F32);
    let parameter = upload(&[0.0, 0.0, 0.0]);
    let mut moments = Moments::zeros_like(&parameter);
    let step = AdamWStep {
        config: config(),
        number: 1,
        gradient_scale: 1.0,
    };
    let gradient = upload(&[1e-3, -4.0, 100.0]);
    let got = adamw(parameter, gradient, &mut moments, None, step);
    assert_close("parameter", &values(got), &[-1e-2, 1e-2, -1e-2], 1e-6);
}

fn check_sum(elements: usize) {
    let x = Values::new(16).array(&[elements]).data;
    let expected: f64 = x.iter().map(|v| v * v).sum();
    for dtype in [DType::F32, DType::F64] {
        let got = sum_squares(vector(x.clone(), &Device::flex(), dtype));
        assert_close(&format!("{elements} {dtype:?}"), &[got], &[expected], 1e-12);
    }
}

#[test]
fn sum_squares_of_any_length() {
    for elements in [
        0,
        1,
        7,
        8,
        9,
        (1 << 14) - 1,
        1 << 14,
        (1 << 14) + 1,
        100_003,
    ] {
        check_sum(elements);
    }
}

/// Burn's own sum gives several results for this many elements.
#[test]
fn sum_squares_is_the_same_every_time() {
    let elements: usize = 5_000_000;
    let data: Vec<f32> = (0..elements)
        .map(|i| ((i * 7919) % 1000) as f32 * 1e-3)
        .collect();
    let x = Tensor::<1>::from_data(TensorData::new(data, [elements]), &Device::flex());
    let first = sum_squares(x.clone());
    for _ in 0..5 {
        assert_eq!(sum_squares(x.clone()).to_bits(), first.to_bits());
    }
}
