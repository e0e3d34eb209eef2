//! Files and folders: shards, names, metadata, other readers.

use std::collections::BTreeMap;

use super::*;

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
