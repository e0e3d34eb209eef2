//! Against PyTorch, from the files in `tests/perceptual`.

use std::path::PathBuf;

use super::*;

fn fixture(name: &str) -> PathBuf {
    let folder = std::env::var_os("VLDM_LPIPS_REFERENCE").map(PathBuf::from);
    let own = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/perceptual"));
    folder.unwrap_or_else(own).join(name)
}

fn tensor<const D: usize>(weights: &Weights, name: &str) -> Tensor<D> {
    Tensor::from_data(weights.data(name).unwrap(), &Device::flex())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.without_autodiff().into_data().try_to_vec().unwrap()
}

fn worst(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let off = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
    off.fold(0.0, f32::max)
}

fn channels_last(x: Tensor<4>) -> Tensor<4> {
    crate::layout::images_to_channels_last(x)
}

/// Another folder, such as that of the full network, is named by `VLDM_LPIPS_REFERENCE`.
#[test]
fn distances_and_their_gradients_are_those_of_the_reference() {
    let device = Device::flex();
    let network = Perceptual::load(&fixture("weights.safetensors"), &device).unwrap();
    let case = Weights::open(fixture("case.safetensors")).unwrap();
    let [a, b] = ["a", "b"].map(|name| channels_last(tensor(&case, name)));
    let leaf = a.autodiff().require_grad();
    let distances = network.forward(leaf.clone(), b.autodiff());
    let expected = values(tensor::<1>(&case, "distances"));
    let off = worst(&values(distances.clone()), &expected);
    assert!(
        expected.iter().all(|&distance| distance > 0.01),
        "{expected:?}"
    );
    assert!(off < 1e-5, "distances are off by {off}: {expected:?}");
    println!("distances {expected:?} are off by {off:.1e}");
    let mut gradients = distances.sum().backward();
    let gradient = values(leaf.grad_remove(&mut gradients).unwrap());
    let expected = values(channels_last(tensor(&case, "gradient")));
    let largest = expected
        .iter()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    let off = worst(&gradient, &expected) / largest;
    println!("the gradient is off by {off:.1e} of its largest value");
    assert!(
        off < 1e-3,
        "the gradient is off by {off} of its largest value"
    );
}

#[test]
fn the_same_picture_has_no_distance_and_black_no_broken_gradient() {
    let device = Device::flex();
    let config = PerceptualConfig::narrow([4, 4, 4, 4, 4]);
    let network = Perceptual::new(&config, &Init::new(&device, 1));
    let network = crate::nn::arrange(network);
    let black = Tensor::<4>::zeros([2, 17, 33, 3], &device) - 1.0;
    let leaf = black.clone().autodiff().require_grad();
    let distances = network.forward(leaf.clone(), black.autodiff());
    assert_eq!(values(distances.clone()), [0.0, 0.0]);
    let mut gradients = distances.sum().backward();
    let gradient = values(leaf.grad_remove(&mut gradients).unwrap());
    assert!(gradient.iter().all(|value| value.is_finite()));
}

#[test]
fn a_file_of_something_else_is_told() {
    let case = fixture("case.safetensors");
    let error = Perceptual::load(&case, &Device::flex())
        .unwrap_err()
        .to_string();
    assert!(error.contains("found no `features.0.weight`"), "{error}");
}

#[test]
fn the_full_network_has_the_papers_size() {
    let network = Perceptual::new(&PerceptualConfig::vgg16(), &Init::new(&Device::flex(), 0));
    // VGG-16 without its classifier, and the 1,472 weights of channels.
    assert_eq!(
        crate::checkpoint::count_parameters(&network),
        14_714_688 + 1_472
    );
    let last = feature_numbers(&PerceptualConfig::vgg16());
    assert_eq!(last[4], [24, 26, 28]);
}
