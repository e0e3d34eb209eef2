//! The preset files, compiled in.

/// Names and texts of the files in `presets/`, sorted by name. Given are the names; a test compares
/// them with the folder.
macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$((
            $name,
            include_str!(concat!("../../../../presets/", $name, ".toml")),
        )),*]
    };
}

pub(super) const EMBEDDED: &[(&str, &str)] = embedded![
    "bench-train",
    "bench-train-video",
    "driving",
    "driving-boxes",
    "driving-interpolation",
    "driving-prediction",
    "driving-upsampler",
    "mountain-biking",
    "sd15",
    "sd15-interpolation",
    "sd15-video",
    "sd21",
    "sd21-video",
    "stack-driving",
    "stack-text-to-video",
    "stack-world",
    "svd",
    "svd-xt",
    "temporal-decoder-3x1x1",
    "temporal-decoder-3x3x3",
    "tiny-bench-train",
    "tiny-bench-train-video",
    "tiny-driving",
    "tiny-driving-boxes",
    "tiny-driving-interpolation",
    "tiny-driving-prediction",
    "tiny-driving-upsampler",
    "tiny-mountain-biking",
    "tiny-sd15",
    "tiny-sd15-interpolation",
    "tiny-sd15-video",
    "tiny-sd21",
    "tiny-sd21-video",
    "tiny-stack-driving",
    "tiny-stack-text-to-video",
    "tiny-svd",
    "tiny-svd-xt",
    "tiny-temporal-decoder-3x1x1",
    "tiny-temporal-decoder-3x3x3",
    "tiny-x4-upscaler",
    "tiny-x4-upscaler-video",
    "world",
    "world-interpolation",
    "world-prediction",
    "world-upsampler",
    "world-upsampler-video",
    "world-video",
    "x4-upscaler",
    "x4-upscaler-video",
];
