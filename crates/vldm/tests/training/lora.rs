//! Ten steps of adapters, and adapters that diffusers wrote.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor};
use vldm::checkpoint::Weights;
use vldm::diffusion::Preconditioning;
use vldm::lora::{LoraFile, merge};
use vldm::model::{LoadSettings, Model, ModelDescription};
use vldm::nn::Init;
use vldm::train::{Lora, LoraConfig, Networks, Pass, block_pass, denoising_pass, networks_of};

use super::case::Case;
use super::steps::{DiffusionPass, ExampleParts, close, example, learner_of};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/training")
        .join(name)
}

/// The file that diffusers wrote.
pub(crate) fn adapter_file() -> PathBuf {
    folder("lora/adapter/pytorch_lora_weights.safetensors")
}

/// The model whose weights the adapters are added to.
pub(crate) fn base_model() -> Model {
    let settings = LoadSettings {
        device: Device::flex(),
        dtype: DType::F32,
        temporal: None,
    };
    let description = ModelDescription::open(folder("dreambooth/model"), None).unwrap();
    description.load(&settings).unwrap()
}

fn values(weights: &Weights, name: &str) -> Tensor<2> {
    let data = weights.data(name).unwrap();
    Tensor::from_data(data, &Device::flex())
}

/// The networks with the adapters that the reference begins with.
fn networks(case: &Case) -> Networks {
    let mut networks = case.networks();
    let config = base_model().unet.unwrap().config;
    let targets = [
        "to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj",
    ];
    let lora = LoraConfig {
        rank: 4,
        alpha: 6.0,
        targets: targets.map(String::from).into(),
    };
    let learns = ["unet.", "text_encoder."].map(String::from);
    let init = Init::new(&Device::flex(), 0);
    Lora::attach(&mut networks, &config, &lora, (&learns, &init)).unwrap();
    let weights = Weights::open(adapter_file()).unwrap();
    let lora = networks.lora.as_mut().unwrap();
    assert_eq!(2 * lora.adapters.len(), weights.names().count());
    for adapter in &mut lora.adapters {
        let [a, b] = ["lora_A", "lora_B"]
            .map(|end| values(&weights, &format!("{}.{end}.weight", adapter.layer())));
        adapter.a = adapter.a.clone().map(|_| a);
        adapter.b = adapter.b.clone().map(|_| b);
    }
    networks
}

/// Losses, norms and the first gradients of adapters, by both kinds of pass.
pub(crate) fn ten_steps(preconditioning: &Preconditioning, parts: &ExampleParts) {
    let case = Case::open_with_weights_of("lora", "dreambooth");
    let runs: [(f64, &str, f64, DiffusionPass); 3] = [
        (1e-3, "", 1e-4, denoising_pass),
        (1e-2, "fast", 2e-5, denoising_pass),
        (1e-2, "fast", 2e-5, block_pass),
    ];
    for (rate, run, tolerance, pass) in runs {
        let [losses, norms] = ["losses", "gradient_norms"].map(|key| case.numbers(run, key));
        let mut learner = learner_of(networks(&case), &["lora."], (rate, false));
        for step in 0..losses.len() {
            let example = example(&case, &[step], preconditioning, parts);
            let how = (DType::F32, 1.0);
            let passed = pass(learner.networks(), preconditioning, example, how).unwrap();
            if step == 0 {
                compare(&passed, learner.networks());
            }
            let outcome = learner.step(vec![passed]);
            println!("lora {step}: {} {}", outcome.loss, losses[step]);
            assert!(outcome.applied);
            close(
                &format!("loss of step {step}"),
                outcome.loss,
                losses[step],
                tolerance,
            );
            close(
                &format!("norm of step {step}"),
                outcome.gradient_norm,
                norms[step],
                1e-3,
            );
        }
    }
}

/// Every gradient within 1e-3 of the largest value of its tensor; only adapters have any.
fn compare(pass: &Pass, networks: &Networks) {
    let expected = Weights::open(folder("lora/gradient/lora.safetensors")).unwrap();
    let adapters = &networks.lora.as_ref().unwrap().adapters;
    assert_eq!(pass.gradients.len(), 2 * adapters.len());
    let mut worst = 0.0f32;
    for (index, adapter) in adapters.iter().enumerate() {
        for (matrix, end) in [("a", "lora_A"), ("b", "lora_B")] {
            let name = format!("lora.adapters.{index}.{matrix}");
            let got = pass.gradient(&name, networks).unwrap();
            let expected = expected
                .data(&format!("{}.{end}.weight", adapter.layer()))
                .unwrap();
            let expected: Vec<f32> = expected.try_to_vec().unwrap();
            let most = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            let pairs = got.iter().zip(&expected);
            let error = pairs.fold(0.0f32, |a, (x, y)| a.max((x - y).abs()));
            worst = worst.max(error / most);
        }
    }
    println!("lora: gradients within {worst:.1e}");
    assert!(worst <= 1e-3, "{worst}");
}

/// A file of diffusers, added to the weights, gives the loss that peft's layers give.
pub(crate) fn merged(preconditioning: &Preconditioning, parts: &ExampleParts) {
    let case = Case::open_with_weights_of("lora", "dreambooth");
    let loss = |model: Model| {
        let networks = networks_of(model);
        let example = example(&case, &[0], preconditioning, parts);
        let prediction = vldm::train::denoising::predict(&networks, preconditioning, &example);
        prediction.unwrap().loss().0
    };
    let expected = case.numbers("", "losses")[0];
    let file = LoraFile::open(adapter_file()).unwrap();
    let mut model = base_model();
    let report = merge(&mut model, &file, 1.0).unwrap();
    assert_eq!(report.layers, file.layers().count());
    close("loss of the merged model", loss(model), expected, 1e-5);
    let mut model = base_model();
    merge(&mut model, &file, 0.0).unwrap();
    assert!((loss(model) - expected).abs() > 1e-2);
    assert!((loss(base_model()) - expected).abs() > 1e-2);
}
