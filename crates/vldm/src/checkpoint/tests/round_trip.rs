//! What is saved comes back, in one copy.

use std::collections::BTreeMap;

use burn::tensor::f16;

use super::*;

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
