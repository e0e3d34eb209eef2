//! Damaged files: an error or something sound, never a crash.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

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
