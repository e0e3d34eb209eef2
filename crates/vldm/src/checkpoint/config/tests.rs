//! Real configurations, defaults, and everything that can be wrong with one.

use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn parse(value: &Value) -> Json {
    Json::parse(Path::new("config.json"), value.to_string().as_bytes()).unwrap()
}

fn unet(value: &Value) -> DiffusersUNetConfig {
    DiffusersUNetConfig::from_json(&parse(value)).unwrap()
}

#[track_caller]
fn check_error<T: std::fmt::Debug>(
    read: impl Fn(&Json) -> Result<T, crate::checkpoint::CheckpointError>,
    value: Value,
    expected: &[&str],
) {
    let error = read(&parse(&value)).unwrap_err().to_string();
    for part in expected {
        assert!(error.contains(part), "{part}\nnot in\n{error}");
    }
}

#[test]
fn stable_diffusion_1_unet() {
    let config = unet(&json!({
        "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.6.0",
        "act_fn": "silu", "attention_head_dim": 8, "block_out_channels": [320, 640, 1280, 1280],
        "center_input_sample": false, "cross_attention_dim": 768,
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
            "CrossAttnDownBlock2D", "DownBlock2D"],
        "downsample_padding": 1, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4,
        "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-05,
        "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
            "CrossAttnUpBlock2D"],
    }));
    assert_eq!(config.heads, [8; 4]);
    assert_eq!(config.attention, [true, true, true, false]);
    assert_eq!(
        (config.context_width, config.linear_projection),
        (Some(768), false)
    );
    assert_eq!(config.mid_self_attention, Some(true));
    assert!(!config.is_video());
}

#[test]
fn stable_diffusion_2_and_x4_upscaler_unets() {
    let config = unet(&json!({
        "attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024,
        "use_linear_projection": true, "upcast_attention": true, "dual_cross_attention": false,
        "only_cross_attention": false, "num_class_embeds": null,
    }));
    assert_eq!(config.heads, [5, 10, 20, 20]);
    assert!(config.linear_projection && config.upcast_attention);
    let config = unet(&json!({
        "in_channels": 7, "attention_head_dim": 8, "num_class_embeds": 1000,
        "block_out_channels": [256, 512, 512, 1024], "cross_attention_dim": 1024,
        "only_cross_attention": [true, true, true, false], "use_linear_projection": true,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
            "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
            "UpBlock2D"],
    }));
    assert_eq!(config.self_attention, [false, false, false, true]);
    assert_eq!(config.mid_self_attention, Some(true));
    assert_eq!(config.class_labels, Some(1000));
    let config = unet(&json!({"only_cross_attention": true}));
    assert_eq!(config.mid_self_attention, Some(true));
}

#[test]
fn stable_video_diffusion_unet() {
    let config = unet(&json!({
        "_class_name": "UNetSpatioTemporalConditionModel", "addition_time_embed_dim": 256,
        "block_out_channels": [320, 640, 1280, 1280], "cross_attention_dim": 1024,
        "in_channels": 8, "layers_per_block": 2, "num_attention_heads": [5, 10, 20, 20],
        "num_frames": 14, "projection_class_embeddings_input_dim": 768, "sample_size": 96,
    }));
    assert_eq!(config.num_frames, Some(14));
    assert_eq!(
        config.scalars,
        Some(Scalars {
            count: 3,
            width: 256
        })
    );
    assert_eq!(config.heads, [5, 10, 20, 20]);
    assert!(config.linear_projection);
}

#[test]
fn what_we_write_reads_back() {
    for value in [
        json!({}),
        json!({"only_cross_attention": [true, false, true, false], "num_class_embeds": 9}),
        json!({"_class_name": "UNetSpatioTemporalConditionModel"}),
    ] {
        let config = unet(&value);
        assert_eq!(unet(&config.to_json()), config);
    }
    for class in ["AutoencoderKL", "AutoencoderKLTemporalDecoder", "VQModel"] {
        let read = |value: &Value| DiffusersAutoencoderConfig::from_json(&parse(value)).unwrap();
        let config = read(&json!({"_class_name": class, "layers_per_block": 2}));
        assert_eq!(read(&config.to_json()), config);
    }
    for class in ["DDIMScheduler", "EulerDiscreteScheduler", "PNDMScheduler"] {
        let value = json!({"_class_name": class, "sigma_max": 700.0, "steps_offset": 1,
            "timestep_type": "continuous", "clip_sample": false});
        let config = DiffusersNoiseConfig::from_json(&parse(&value)).unwrap();
        let back = DiffusersNoiseConfig::from_json(&parse(&config.to_json()));
        assert_eq!(back.unwrap(), config);
    }
    let text = ClipTextConfig::from_json(&parse(&json!({}))).unwrap();
    let back = ClipTextConfig::from_json(&parse(&text.to_json())).unwrap();
    assert_eq!(back, text);
    let vision = ClipVisionConfig::from_json(&parse(&json!({}))).unwrap();
    let back = ClipVisionConfig::from_json(&parse(&vision.to_json())).unwrap();
    assert_eq!(back, vision);
}

/// Fuzzing found a reader of numbers that was one unit in the last place off.
#[test]
fn a_float_keeps_its_last_bit() {
    for eps in [1e-50, 0.1 + 0.2, 1e-5, f64::MIN_POSITIVE, 123_456.789e-300] {
        let config = unet(&json!({"norm_eps": eps}));
        assert_eq!(config.norm_eps, eps);
        assert_eq!(unet(&config.to_json()), config);
    }
}

#[test]
fn a_wrong_unet_names_the_key_and_what_was_expected() {
    let check = |value, expected: &[&str]| {
        check_error(DiffusersUNetConfig::from_json, value, expected);
    };
    check(
        json!({"in_channels": "four"}),
        &["config.json: `in_channels` is \"four\", expected a whole number from 1"],
    );
    check(json!({"in_channels": 0}), &["in_channels", "is 0"]);
    check(json!({"in_channels": 1e30}), &["in_channels"]);
    check(
        json!({"act_fn": "gelu"}),
        &["act_fn", "\"silu\" (nothing else"],
    );
    check(
        json!({"addition_embed_type": "text_time"}),
        &["addition_embed_type", "null"],
    );
    check(
        json!({"attention_head_dim": [5, 10]}),
        &["attention_head_dim", "a list of 4"],
    );
    check(
        json!({"attention_head_dim": 400}),
        &["attention_head_dim", "no larger than the channels"],
    );
    check(
        json!({"block_out_channels": []}),
        &["block_out_channels", "a list"],
    );
    check(
        json!({"block_out_channels": [320, 640, 1280, 1290]}),
        &["multiples of norm_num_groups"],
    );
    check(
        json!({"down_block_types": ["CrossAttnDownBlock2D", "KDownBlock2D", "DownBlock2D",
            "DownBlock2D"]}),
        &[
            "down_block_types",
            "KDownBlock2D",
            "CrossAttnDownBlock2D, DownBlock2D",
        ],
    );
}

#[test]
fn an_unsupported_unet_names_the_key_and_what_is_supported() {
    let check = |value, expected: &[&str]| {
        check_error(DiffusersUNetConfig::from_json, value, expected);
    };
    check(
        json!({"up_block_types": ["UpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"]}),
        &["up_block_types", "reverse order"],
    );
    check(
        json!({"_class_name": "FluxTransformer2DModel"}),
        &["_class_name", "Flux", "UNet2D"],
    );
    check(
        json!({"only_cross_attention": [true]}),
        &["only_cross_attention", "list of 4"],
    );
    check(json!({"norm_eps": 0}), &["norm_eps", "above 0"]);
    check(
        json!({"cross_attention_dim": [768, 768]}),
        &["cross_attention_dim"],
    );
    check(
        json!({"_class_name": "UNetSpatioTemporalConditionModel", "addition_time_embed_dim": 100}),
        &[
            "projection_class_embeddings_input_dim",
            "absent",
            "multiple of",
        ],
    );
}

#[test]
fn autoencoders() {
    let read = |value: &Value| DiffusersAutoencoderConfig::from_json(&parse(value)).unwrap();
    let blocks = json!(["DownEncoderBlock2D", "DownEncoderBlock2D"]);
    let sd = read(&json!({
        "_class_name": "AutoencoderKL", "block_out_channels": [128, 256], "layers_per_block": 2,
        "down_block_types": blocks, "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
        "latent_channels": 4, "norm_num_groups": 32, "sample_size": 512,
    }));
    assert_eq!((sd.scaling_factor, sd.decoder_mid_layers), (0.18215, 2));
    assert!(sd.quant_conv && sd.post_quant_conv && sd.mid_attention);
    let svd = read(&json!({
        "_class_name": "AutoencoderKLTemporalDecoder", "block_out_channels": [128, 256],
        "down_block_types": blocks, "layers_per_block": 2, "force_upcast": true,
    }));
    assert_eq!(svd.kind, DiffusersAutoencoder::KlTemporalDecoder);
    assert!(svd.quant_conv && !svd.post_quant_conv);
    let vq = read(&json!({"_class_name": "VQModel", "num_vq_embeddings": 8192}));
    let kind = DiffusersAutoencoder::Vq {
        codes: 8192,
        code_channels: 3,
    };
    assert_eq!((vq.kind, vq.latent_channels), (kind, 3));
    let check = |value, expected: &[&str]| {
        check_error(DiffusersAutoencoderConfig::from_json, value, expected);
    };
    check(json!({"shift_factor": 0.1}), &["shift_factor", "0.0"]);
    check(json!({"latents_mean": [0.1]}), &["latents_mean", "null"]);
    check(json!({"out_channels": 4}), &["out_channels", "expected 3"]);
    check(
        json!({"scaling_factor": -1}),
        &["scaling_factor", "above 0"],
    );
    check(
        json!({"block_out_channels": [64, 64]}),
        &["down_block_types", "absent", "list of 2"],
    );
}

#[test]
fn noise_schedules() {
    let read = |value: &Value| DiffusersNoiseConfig::from_json(&parse(value)).unwrap();
    let sd1 = read(&json!({
        "_class_name": "PNDMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "num_train_timesteps": 1000, "set_alpha_to_one": false,
        "skip_prk_steps": true, "steps_offset": 1, "trained_betas": null, "clip_sample": false,
    }));
    assert_eq!((sd1.steps_offset, sd1.prediction), (1, Prediction::Epsilon));
    assert_eq!(
        (sd1.beta_schedule, sd1.clip_sample),
        (BetaSchedule::ScaledLinear, None)
    );
    let svd = read(&json!({
        "_class_name": "EulerDiscreteScheduler", "prediction_type": "v_prediction",
        "sigma_max": 700.0, "sigma_min": 0.002, "timestep_spacing": "leading",
        "timestep_type": "continuous", "use_karras_sigmas": true, "steps_offset": 1,
        "interpolation_type": "linear", "beta_schedule": "scaled_linear",
    }));
    assert!(svd.continuous_timestep && svd.use_karras_sigmas);
    assert_eq!(svd.sigma_range, (Some(0.002), Some(700.0)));
    let default = read(&json!({}));
    assert_eq!(
        (default.clip_sample, default.spacing),
        (Some(1.0), Spacing::Leading)
    );
    assert_eq!(
        read(&json!({"_class_name": "HeunDiscreteScheduler"})).beta_end,
        0.012
    );
    let check = |value, expected: &[&str]| {
        check_error(DiffusersNoiseConfig::from_json, value, expected);
    };
    check(
        json!({"_class_name": "FlowMatch"}),
        &["_class_name", "DDIMScheduler"],
    );
    check(
        json!({"prediction_type": "flow"}),
        &["prediction_type", "\"v_prediction\""],
    );
    check(json!({"beta_end": 1.5}), &["beta_end", "between 0 and 1"]);
    check(json!({"trained_betas": [0.1]}), &["trained_betas"]);
    check(json!({"thresholding": true}), &["thresholding"]);
}

#[test]
fn clip_encoders() {
    let text = json!({"hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 23,
        "intermediate_size": 4096, "hidden_act": "gelu", "architectures": ["CLIPTextModel"]});
    let config = ClipTextConfig::from_json(&parse(&text)).unwrap();
    assert_eq!(
        (config.layers, config.activation),
        (23, ClipActivation::Gelu)
    );
    let nested = ClipTextConfig::from_json(&parse(&json!({"text_config": text}))).unwrap();
    assert_eq!(nested, config);
    let vision = json!({"hidden_size": 1280, "num_attention_heads": 16, "patch_size": 14,
        "num_hidden_layers": 32, "intermediate_size": 5120, "projection_dim": 1024});
    let config = ClipVisionConfig::from_json(&parse(&vision)).unwrap();
    assert_eq!((config.projection, config.image_size), (1024, 224));
    check_error(
        ClipTextConfig::from_json,
        json!({"hidden_act": "relu"}),
        &["hidden_act", "\"quick_gelu\" or \"gelu\""],
    );
    check_error(
        ClipVisionConfig::from_json,
        json!({"num_attention_heads": 7}),
        &["num_attention_heads", "divisor"],
    );
}

#[test]
fn a_pipeline_folder_tells_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, value: Value| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value.to_string()).unwrap();
    };
    write(
        "model_index.json",
        json!({
            "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.20.0",
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "scheduler": ["diffusers", "PNDMScheduler"],
            "safety_checker": [null, null], "requires_safety_checker": true,
        }),
    );
    write(
        "unet/config.json",
        json!({"_class_name": "UNet2DConditionModel"}),
    );
    write(
        "scheduler/scheduler_config.json",
        json!({"_class_name": "PNDMScheduler"}),
    );
    let Ok(ModelSource::Pipeline(model)) = ModelSource::open(folder.path()) else {
        panic!("not a pipeline");
    };
    assert_eq!(model.class_name, "StableDiffusionPipeline");
    assert_eq!(model.components.len(), 3);
    assert_eq!(model.settings["requires_safety_checker"], true);
    assert!(DiffusersNoiseConfig::from_json(&model.config("scheduler").unwrap()).is_ok());
    let message = |name: &str| model.part(name).unwrap_err().to_string();
    assert!(message("image_encoder").contains("scheduler, unet, vae; it has no"));
    assert!(message("vae").contains("download it too"));
    assert!(matches!(
        ModelSource::open(folder.path().join("unet")),
        Ok(ModelSource::Part { class_name, .. }) if class_name == "UNet2DConditionModel"
    ));
    write(
        "model_index.json",
        json!({"_class_name": "X", "../up": ["a", "b"]}),
    );
    let error = ModelSource::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("../up"), "{error}");
}

#[test]
fn what_is_no_model_says_what_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let check = |path: &Path, expected: &str| {
        let error = ModelSource::open(path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        folder.path(),
        "looked for model_index.json, config.json; name a diffusers folder",
    );
    check(&folder.path().join("none"), "cannot read");
    let pickle = folder.path().join("model.ckpt");
    std::fs::write(&pickle, "").unwrap();
    check(&pickle, "converted to safetensors");
    let index = folder.path().join("model_index.json");
    for (text, expected) in [
        ("", "not JSON"),
        ("[]", "not an object"),
        ("{}", "_class_name"),
    ] {
        std::fs::write(&index, text).unwrap();
        check(folder.path(), expected);
    }
}
