//! Pictures for the picture encoder against diffusers: see `golden/clip_image/export.py`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may panic, and tell what they measured"
)]

use std::path::Path;

use safetensors::SafeTensors;
use vldm::conditioning::clip_image::clip_image;

/// The exporter's picture, `[3, height, width]` in [−1, 1].
fn picture(height: usize, width: usize) -> Vec<f32> {
    let value =
        |channel: usize, y: usize, x: usize| (7 * x + 13 * y + 29 * channel + x * y / 5) % 256;
    let pixels =
        (0..3).flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| value(c, y, x))));
    pixels
        .map(|value| value as f32 / 255.0 * 2.0 - 1.0)
        .collect()
}

#[test]
fn pictures_equal_those_of_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clip_image");
    let bytes = std::fs::read(path.join("fixture.safetensors")).unwrap();
    for (name, expected) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let numbers: Vec<usize> = name.split(['x', '_']).map(|n| n.parse().unwrap()).collect();
        let [height, width, size] = numbers[..] else {
            panic!("{name}")
        };
        let step = if size == 224 { 7 } else { 1 };
        let result = clip_image(&picture(height, width), [height, width], size).unwrap();
        let expected: Vec<f32> = expected
            .data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        let kept = result
            .chunks(size)
            .step_by(step)
            .flat_map(|row| row.iter().step_by(step));
        let kept: Vec<f32> = kept.copied().collect();
        assert_eq!(kept.len(), expected.len(), "{name}");
        let largest = kept
            .iter()
            .zip(&expected)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(largest < 5e-6, "{name}: largest difference {largest}");
        println!("{name}: largest difference {largest}");
    }
}
