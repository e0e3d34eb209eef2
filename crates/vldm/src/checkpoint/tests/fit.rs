//! Weights that do not fit a module, or fit several.

use std::collections::BTreeMap;

use super::super::key_map::Prefixed;
use super::*;

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
