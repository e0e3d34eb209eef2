//! Configurations of other programs: each reader on the same bytes.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use vldm::checkpoint::config::{
    ClipTextConfig, ClipVisionConfig, DiffusersAutoencoderConfig, DiffusersNoiseConfig,
    DiffusersUNetConfig, Json,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(json) = Json::parse(Path::new("config.json"), bytes) else {
        return;
    };
    // What is accepted must survive being written in the same form.
    let again = |value: serde_json::Value| {
        Json::parse(Path::new("config.json"), value.to_string().as_bytes())
            .expect("our own JSON is an object")
    };
    if let Ok(config) = DiffusersUNetConfig::from_json(&json) {
        let back = DiffusersUNetConfig::from_json(&again(config.to_json()));
        assert_eq!(back.expect("our own form is accepted"), config);
    }
    if let Ok(config) = DiffusersAutoencoderConfig::from_json(&json) {
        let back = DiffusersAutoencoderConfig::from_json(&again(config.to_json()));
        assert_eq!(back.expect("our own form is accepted"), config);
    }
    if let Ok(config) = DiffusersNoiseConfig::from_json(&json) {
        let back = DiffusersNoiseConfig::from_json(&again(config.to_json()));
        assert_eq!(back.expect("our own form is accepted"), config);
    }
    let _ = ClipTextConfig::from_json(&json);
    let _ = ClipVisionConfig::from_json(&json);
});
