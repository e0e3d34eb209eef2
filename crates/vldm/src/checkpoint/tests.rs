//! Round trips through a small module, and everything that can be wrong with a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData, f16};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tempfile::TempDir;

use super::key_map::{Identity, KeyMap, Prefixed, Source, Transform};
use super::*;
use crate::nn::{Conv2d, Fill, Init, Linear};

#[derive(Module, Debug)]
struct Mixer {
    mix_factor: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Net {
    conv: Conv2d,
    layers: Vec<Linear>,
    mixer: Option<Mixer>,
    size: usize,
}

fn net(seed: u64) -> Net {
    net_on(&Device::flex(), seed)
}

fn net_on(device: &Device, seed: u64) -> Net {
    let init = Init::new(device, seed);
    Net {
        conv: Conv2d::new(3, 8, 3, &init),
        layers: (0..3).map(|_| Linear::new(8, 8, true, &init)).collect(),
        mixer: Some(Mixer {
            mix_factor: init.parameter([1], Fill::Constant(0.25)),
        }),
        size: 8,
    }
}

/// The names of [`net`]'s file in another program's layout.
#[derive(Debug)]
struct Foreign;

impl KeyMap for Foreign {
    fn source(&self, ours: &str) -> Source {
        let transform = match ours {
            "mixer.mix_factor" => Transform::Negate,
            "layers.0.weight" => Transform::Reshape { rank: 4 },
            "layers.1.weight" => Transform::Transpose,
            _ => Transform::None,
        };
        Source {
            name: format!("model.{}", ours.replace("layers", "blocks")),
            transform,
        }
    }

    fn is_ignored(&self, theirs: &str) -> bool {
        theirs.starts_with("ema.")
    }
}

fn values(module: &Net) -> Vec<(String, Vec<f32>)> {
    let list = |name: &str, data: TensorData| (name.to_owned(), data.iter::<f32>().collect());
    let mut out = vec![list(
        "conv",
        vldm_kernels::unpack(module.conv.weight.val()).into_data(),
    )];
    for layer in &module.layers {
        out.push(list(
            "weight",
            vldm_kernels::unpack(layer.weight.val()).into_data(),
        ));
        let bias = layer.bias.as_ref().unwrap();
        out.push(list("bias", bias.val().into_data()));
    }
    let mixer = module.mixer.as_ref().unwrap();
    out.push(list("mixer", mixer.mix_factor.val().into_data()));
    out
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    (folder, path)
}

fn save_net(path: &Path, map: &dyn KeyMap, dtype: DType) -> Net {
    let net = net(1);
    let options = SaveOptions {
        dtype,
        ..SaveOptions::default()
    };
    save(&net, path, map, &options).unwrap();
    net
}

#[track_caller]
fn load_error(weights: &Weights, map: &dyn KeyMap, options: &LoadOptions) -> String {
    load(net(2), weights, map, options).unwrap_err().to_string()
}

#[test]
fn a_module_comes_back_as_it_was() {
    for map in [&Identity as &dyn KeyMap, &Foreign] {
        let (_folder, path) = folder();
        let saved = save_net(&path, map, DType::F32);
        let weights = Weights::open(&path).unwrap();
        let (loaded, report) = load(net(2), &weights, map, &LoadOptions::new("net")).unwrap();
        assert_eq!(values(&loaded), values(&saved));
        assert_eq!(report.loaded, parameters(&saved).len());
        assert_eq!(report.elements, count_parameters(&saved));
        assert!(report.new.is_empty() && report.unused.is_empty());
    }
}

#[test]
fn half_precision_files_load_as_f32_and_keep_their_bits() {
    for dtype in [DType::F16, DType::BF16] {
        let (_folder, path) = folder();
        let saved = save_net(&path, &Foreign, dtype);
        let weights = Weights::open(&path).unwrap();
        assert_eq!(weights.stored_dtype(), Some(dtype));
        let options = LoadOptions::new("net");
        let (loaded, report) = load(net(2), &weights, &Foreign, &options).unwrap();
        for ((name, was), (_, is)) in values(&saved).iter().zip(values(&loaded)) {
            for (was, is) in was.iter().zip(is) {
                let tolerance = if dtype == DType::F16 { 1e-3 } else { 8e-3 };
                assert!(
                    (was - is).abs() <= tolerance * was.abs(),
                    "{name}: {was} {is}"
                );
            }
        }
        assert_eq!(report.shared_bytes, 0);
        let (same, report) =
            load(net(2), &weights, &Foreign, &options.clone().dtype(dtype)).unwrap();
        assert_eq!(same.conv.weight.val().dtype(), dtype);
        assert_eq!(values(&same), values(&loaded));
        assert!(report.shared_bytes > 0);
    }
}

#[test]
fn f32_parameters_share_the_pages_of_the_file() {
    let (_folder, path) = folder();
    save_net(&path, &Identity, DType::F32);
    let weights = Weights::open(&path).unwrap();
    let file = weights.bytes("conv.weight").unwrap();
    let data = weights.data("conv.weight").unwrap();
    assert_eq!(data.bytes().as_ptr(), file.as_ptr());
    let (loaded, report) = load(net(2), &weights, &Identity, &LoadOptions::new("net")).unwrap();
    // Weights of layers are rearranged for the device, everything else is shared.
    assert_eq!(
        report.copied_bytes + report.shared_bytes,
        4 * report.elements
    );
    assert!(report.shared_bytes > 0);
    // Removing the file or dropping the handle does not take the values away.
    std::fs::remove_file(&path).unwrap();
    drop((weights, data, file));
    assert_eq!(values(&loaded), values(&net(1)));
}

#[cfg(target_os = "linux")]
#[test]
fn loading_does_not_hold_the_weights_twice() {
    let resident = || -> usize {
        let text = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<usize>()
            .unwrap()
            * 1024
    };
    let (_folder, path) = folder();
    let (rows, columns) = (4096, 2048); // 32 MiB
    let big = |seed| Linear::new(columns, rows, false, &Init::new(&Device::flex(), seed));
    let tensors = [(
        "weight".to_owned(),
        TensorData::new(vec![0.5f32; rows * columns], [rows, columns]),
    )];
    write_tensors(&path, &tensors, &BTreeMap::new()).unwrap();
    drop(tensors);
    let weights = Weights::open(&path).unwrap();
    let before = resident();
    let (loaded, _) = load(big(1), &weights, &Identity, &LoadOptions::new("big")).unwrap();
    let grown = resident().saturating_sub(before);
    assert_eq!(loaded.weight.val().shape().as_slice(), [rows, columns]);
    // Other tests run beside this one: half the tensor is far more than they need.
    assert!(
        grown < 48 << 20,
        "{grown} bytes of memory for a tensor of 32 MiB"
    );
}

#[test]
fn counting_and_loading_initialise_nothing() {
    let (_folder, path) = folder();
    save_net(&path, &Identity, DType::F32);
    let fresh = net(2);
    assert_eq!(count_parameters(&fresh), 3 * 8 * 9 + 8 + 3 * (64 + 8) + 1);
    assert!(!fresh.conv.weight.is_initialized());
    let weights = Weights::open(&path).unwrap();
    let (_, _) = load(fresh.clone(), &weights, &Identity, &LoadOptions::new("net")).unwrap();
    assert!(!fresh.conv.weight.is_initialized());
}

#[test]
fn loaded_parameters_can_still_be_trained() {
    let (_folder, path) = folder();
    save_net(&path, &Identity, DType::F32);
    let weights = Weights::open(&path).unwrap();
    let device = Device::flex().autodiff();
    let options = LoadOptions::new("net");
    let (loaded, _) = load(net_on(&device, 2), &weights, &Identity, &options).unwrap();
    let grads = loaded.layers[0].weight.val().sum().backward();
    assert!(loaded.layers[0].weight.val().grad(&grads).is_some());
    let weights = Weights::open(&path).unwrap();
    let (plain, _) = load(net(2), &weights, &Identity, &options).unwrap();
    assert!(plain.train().layers[0].weight.is_require_grad());
}

fn tensor(name: &str, shape: &[usize]) -> (String, TensorData) {
    let count = shape.iter().product();
    (
        name.to_owned(),
        TensorData::new(vec![0.5f32; count], shape.to_vec()),
    )
}

/// The file of [`net`], but with these changes.
fn changed(change: impl FnOnce(&mut Vec<(String, TensorData)>)) -> (TempDir, Weights) {
    let (folder, path) = folder();
    let mut tensors: Vec<(String, TensorData)> = parameters(&net(1))
        .into_iter()
        .map(|(name, shape)| tensor(&name, &shape))
        .collect();
    change(&mut tensors);
    write_tensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let weights = Weights::open(&path).unwrap();
    (folder, weights)
}

#[test]
fn everything_that_does_not_fit_is_listed_at_once() {
    let (_folder, weights) = changed(|tensors| {
        tensors.retain(|(name, _)| name != "layers.1.weight");
        tensors.push(tensor("layer.1.weight", &[8, 8]));
        tensors.push(tensor("extra.weight", &[1]));
        let place = tensors
            .iter()
            .position(|(name, _)| name == "conv.weight")
            .unwrap();
        tensors[place] = tensor("conv.weight", &[8, 3, 1, 1]);
        let place = tensors
            .iter()
            .position(|(name, _)| name == "conv.bias")
            .unwrap();
        tensors[place].1 = TensorData::new(vec![1i64; 8], [8]);
    });
    let message = load_error(&weights, &Identity, &LoadOptions::new("net"));
    for part in [
        "does not fit the net: 1 tensors missing, 1 of the wrong shape, 1 of the wrong type, 2",
        "missing: layers.1.weight, unused and similar: layer.1.weight",
        "wrong shape: conv.weight: expected [8, 3, 3, 3], got [8, 3, 1, 1]",
        "wrong type: conv.bias: expected F32, F16, BF16 or F64, got I64",
        "nothing uses: extra.weight",
        "nothing uses: layer.1.weight",
    ] {
        assert!(message.contains(part), "{part}\nnot in\n{message}");
    }
}

#[test]
fn only_what_the_caller_names_may_be_new() {
    let (_folder, weights) = changed(|tensors| {
        tensors.retain(|(name, _)| !name.starts_with("mixer."));
    });
    let options = LoadOptions::new("net");
    assert!(load_error(&weights, &Identity, &options).contains("mixer.mix_factor"));
    let other = options.clone().may_be_new("mix");
    assert!(load_error(&weights, &Identity, &other).contains("mixer.mix_factor"));
    let options = options.may_be_new("mixer");
    let (loaded, report) = load(net(2), &weights, &Identity, &options).unwrap();
    assert_eq!(report.new, ["mixer.mix_factor"]);
    assert_eq!(values(&loaded).last().unwrap().1, [0.25]);
    assert!(report.to_string().contains("1 new, 0 unused"), "{report}");
}

#[test]
fn one_file_for_two_parts_is_judged_as_a_whole() {
    let (_folder, path) = folder();
    let mut tensors = Vec::new();
    for prefix in ["a.", "b."] {
        let names = parameters(&net(1)).into_iter();
        tensors.extend(names.map(|(name, shape)| tensor(&format!("{prefix}{name}"), &shape)));
    }
    tensors.push(tensor("betas", &[4]));
    write_tensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let part = |prefix: &str| Prefixed {
        prefix: prefix.into(),
        map: Identity,
    };
    let weights = Weights::open(&path).unwrap();
    load(net(1), &weights, &part("a."), &LoadOptions::new("a")).unwrap();
    assert!(weights.finish("model", |name| name == "betas").is_err());
    load(net(1), &weights, &part("b."), &LoadOptions::new("b")).unwrap();
    assert_eq!(weights.finish("model", |name| name == "betas").unwrap(), 1);
    assert!(
        weights
            .finish("model", |_| false)
            .unwrap_err()
            .to_string()
            .contains("betas")
    );

    let weights = Weights::open(&path).unwrap();
    let options = LoadOptions::new("a").leave_rest();
    let (_, report) = load(net(1), &weights, &part("a."), &options).unwrap();
    assert_eq!(report.unused.len(), parameters(&net(1)).len() + 1);
}

#[test]
fn fused_rows_are_taken_apart() {
    #[derive(Module, Debug)]
    struct Two {
        q: Linear,
        k: Linear,
    }
    #[derive(Debug)]
    struct Fused;
    impl KeyMap for Fused {
        fn source(&self, ours: &str) -> Source {
            let (layer, leaf) = ours.split_once('.').unwrap();
            Source {
                name: format!("in_proj_{leaf}"),
                transform: Transform::Rows {
                    part: usize::from(layer == "k"),
                    of: 2,
                },
            }
        }
    }
    let (_folder, path) = folder();
    let count = |from: usize, to: usize| (from..to).map(|v| v as f32).collect::<Vec<_>>();
    let tensors = [
        (
            "in_proj_weight".into(),
            TensorData::new(count(0, 12), [4, 3]),
        ),
        ("in_proj_bias".into(), TensorData::new(count(0, 4), [4])),
    ];
    write_tensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let init = Init::new(&Device::flex(), 0);
    let two = Two {
        q: Linear::new(3, 2, true, &init),
        k: Linear::new(3, 2, true, &init),
    };
    let weights = Weights::open(&path).unwrap();
    let (two, _) = load(two, &weights, &Fused, &LoadOptions::new("two")).unwrap();
    let data = two.k.weight.val().into_data();
    assert_eq!(data.iter::<f32>().collect::<Vec<_>>(), count(6, 12));
    let error = save(&two, &path, &Fused, &SaveOptions::default()).unwrap_err();
    assert!(error.to_string().contains("diffusers' layout"), "{error}");
}

#[test]
fn shards_and_their_index() {
    let (folder, path) = folder();
    let saved = net(1);
    let options = SaveOptions {
        max_shard_bytes: Some(600),
        ..SaveOptions::default()
    };
    let written = save(&saved, &path, &Identity, &options).unwrap();
    assert!(written.len() > 3, "{written:?}");
    assert!(!path.exists());
    let weights = Weights::open(folder.path()).unwrap();
    assert_eq!(weights.files().count(), written.len() - 1);
    let (loaded, _) = load(net(2), &weights, &Identity, &LoadOptions::new("net")).unwrap();
    assert_eq!(values(&loaded), values(&saved));

    let index = folder.path().join("model.safetensors.index.json");
    let good = std::fs::read_to_string(&index).unwrap();
    let check = |text: String, expected: &str| {
        std::fs::write(&index, text).unwrap();
        let error = Weights::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(good.replace("conv.bias", "conv.bia"), "has no such tensor");
    check("{}".into(), "weight_map");
    check("{".into(), "not JSON");
    check(
        good.replace("model-00001", "../model-00001"),
        "not a plain file name",
    );
    check(good.replace("model-00001", "model-00009"), "cannot read");
}

#[test]
fn a_folder_without_weights_says_what_was_looked_for() {
    let check = |file: &str, expected: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(file), "").unwrap();
        let error = Weights::open(folder.path()).unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "{error}");
        }
    };
    let names = [
        "diffusion_pytorch_model.safetensors",
        "model.safetensors.index.json",
    ];
    check("readme.txt", &names);
    check("pytorch_model.bin", &["pickles"]);
    check("model_index.json", &["whole pipeline"]);
    check("lora.safetensors", &["name the one you mean"]);
    let error = Weights::open("/nowhere/model.safetensors").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot read /nowhere/model.safetensors")
    );
}

#[test]
fn full_precision_is_preferred() {
    let (folder, path) = folder();
    let half = folder.path().join("model.fp16.safetensors");
    save_net(&half, &Identity, DType::F16);
    assert_eq!(Weights::open(folder.path()).unwrap().path(), half);
    save_net(&path, &Identity, DType::F32);
    assert_eq!(Weights::open(folder.path()).unwrap().path(), path);
}

#[test]
fn a_save_that_fails_leaves_the_old_file_and_nothing_else() {
    let (folder, path) = folder();
    let saved = save_net(&path, &Identity, DType::F32);
    let huge = net(3);
    let huge = Net {
        mixer: Some(Mixer {
            mix_factor: Param::from_tensor(Tensor::from_floats([1e30], &Device::flex())),
        }),
        ..huge
    };
    let options = SaveOptions {
        dtype: DType::F16,
        ..SaveOptions::default()
    };
    let error = save(&huge, &path, &Identity, &options)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("mixer.mix_factor") && error.contains("bf16"),
        "{error}"
    );
    let stop = |out: &mut dyn std::io::Write| {
        out.write_all(b"half").unwrap();
        Err(CheckpointError::write(
            &path,
            std::io::ErrorKind::StorageFull.into(),
        ))
    };
    assert!(write_atomically(&path, stop).is_err());
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let weights = Weights::open(&path).unwrap();
    let (loaded, _) = load(net(2), &weights, &Identity, &LoadOptions::new("net")).unwrap();
    assert_eq!(values(&loaded), values(&saved));
}

#[test]
fn metadata_comes_back_and_newer_formats_are_refused() {
    let (_folder, path) = folder();
    let metadata = Metadata {
        config: Some(serde_json::json!({"channels": 8})),
        step: Some(1200),
        other: BTreeMap::from([("note".into(), "x".into())]),
    };
    let options = SaveOptions {
        metadata: metadata.clone(),
        ..SaveOptions::default()
    };
    save(&net(1), &path, &Identity, &options).unwrap();
    let weights = Weights::open(&path).unwrap();
    assert_eq!(weights.metadata()["format"], "pt");
    assert_eq!(Metadata::of(&weights).unwrap(), metadata);
    let newer = BTreeMap::from([("vldm.format_version".to_owned(), "2".to_owned())]);
    write_tensors(&path, &[], &newer).unwrap();
    let error = Metadata::of(&Weights::open(&path).unwrap()).unwrap_err();
    assert!(error.to_string().contains("update it"), "{error}");
}

#[test]
fn the_reference_reader_accepts_what_we_write_and_we_what_it_writes() {
    let (_folder, path) = folder();
    save_net(&path, &Identity, DType::F32);
    let bytes = std::fs::read(&path).unwrap();
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.tensor("conv.weight").unwrap().shape(), [8, 3, 3, 3]);
    let again = safetensors::serialize(read.iter(), None).unwrap();
    let weights = Weights::from_bytes("memory", again).unwrap();
    let (loaded, _) = load(net(2), &weights, &Identity, &LoadOptions::new("net")).unwrap();
    assert_eq!(values(&loaded), values(&net(1)));
}

#[test]
fn misaligned_files_load_all_the_same() {
    let (_folder, path) = folder();
    save_net(&path, &Identity, DType::F32);
    // One byte more of header: every tensor is off by one.
    let mut bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    bytes.insert(8 + length as usize, b' ');
    bytes[..8].copy_from_slice(&(length + 1).to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let weights = Weights::open(&path).unwrap();
    let (loaded, _) = load(net(2), &weights, &Identity, &LoadOptions::new("net")).unwrap();
    assert_eq!(values(&loaded), values(&net(1)));
}

#[test]
fn a_file_cut_short_anywhere_is_an_error() {
    let (_folder, path) = folder();
    save_net(&path, &Identity, DType::F16);
    let bytes = std::fs::read(&path).unwrap();
    for length in (0..bytes.len()).step_by(97) {
        let error = Weights::from_bytes(&path, bytes[..length].to_vec()).unwrap_err();
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
}

#[test]
fn tensors_are_written_in_their_own_type_and_once() {
    let data = TensorData::new(vec![f16::MAX], [1]);
    let (_folder, path) = folder();
    write_tensors(&path, &[("x".into(), data.clone())], &BTreeMap::new()).unwrap();
    let weights = Weights::open(&path).unwrap();
    assert_eq!(weights.data("x").unwrap(), data);
    let twice = [("x".into(), data.clone()), ("x".into(), data)];
    let error = write_tensors(&path, &twice, &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("this name"), "{error}");
}

/// A thousand damaged versions of `bytes`: flipped, cut, doubled and overwritten, from a fixed
/// seed. The fuzz targets do the same without end.
fn damaged(bytes: &[u8], header: usize, mut check: impl FnMut(Vec<u8>)) {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut below = |limit: usize| rng.next_u32() as usize % limit.max(1);
    for _ in 0..1000 {
        let mut bytes = bytes.to_vec();
        for _ in 0..=below(4) {
            let at = below(header.min(bytes.len()));
            match below(5) {
                0 => bytes[at] ^= 1 << below(8),
                1 => bytes[at] = b"0123456789-[]{},:\"e"[below(19)],
                2 => bytes.truncate(at.max(1)),
                3 => {
                    let end = (at + below(40)).min(bytes.len());
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                _ => {
                    let end = (at + below(40)).min(bytes.len());
                    bytes.drain(at..end);
                    bytes.push(0);
                }
            }
        }
        check(bytes);
    }
}

#[test]
fn damaged_files_are_errors_or_still_sound() {
    let (_folder, path) = folder();
    save_net(&path, &Identity, DType::F16);
    let bytes = std::fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut refused = 0;
    damaged(&bytes, header, |bytes| {
        let Ok(weights) = Weights::from_bytes("damaged", bytes) else {
            refused += 1;
            return;
        };
        for name in weights.names() {
            let data = weights.data(name);
            assert!(
                data.is_err() || data.unwrap().shape().as_slice() == weights.shape(name).unwrap()
            );
        }
        let _ = Metadata::of(&weights);
        let _ = single_file::SingleFile::detect(&weights);
        let _ = load(net(2), &weights, &Identity, &LoadOptions::new("net"));
    });
    assert!(refused > 500, "{refused}");
}

#[test]
fn damaged_indexes_and_configurations_are_errors_or_still_sound() {
    let (folder, path) = folder();
    let options = SaveOptions {
        max_shard_bytes: Some(600),
        ..SaveOptions::default()
    };
    let written = save(&net(1), &path, &Identity, &options).unwrap();
    let index = written.last().unwrap();
    let good = std::fs::read(index).unwrap();
    damaged(&good, good.len(), |bytes| {
        std::fs::write(index, bytes).unwrap();
        if let Ok(weights) = Weights::open(index) {
            assert!(
                weights
                    .files()
                    .all(|file| file.parent() == Some(folder.path()))
            );
        }
    });
    let empty = config::Json::parse(Path::new("config.json"), b"{}").unwrap();
    let unet = config::DiffusersUNetConfig::from_json(&empty)
        .unwrap()
        .to_json()
        .to_string();
    damaged(unet.as_bytes(), unet.len(), |bytes| {
        let Ok(json) = config::Json::parse(Path::new("config.json"), &bytes) else {
            return;
        };
        let _ = config::DiffusersUNetConfig::from_json(&json);
        let _ = config::DiffusersAutoencoderConfig::from_json(&json);
        let _ = config::DiffusersNoiseConfig::from_json(&json);
        let _ = config::ClipTextConfig::from_json(&json);
    });
}
