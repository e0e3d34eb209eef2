//! tmp
use burn::module::Module;
use burn::tensor::Device;
use vldm::autoencoder::*;
use vldm::nn::Init;
use vldm::unet::*;

fn sd(heads: [usize; 4], context: usize) -> UNetConfig {
    let t = |heads| {
        Some(TransformerConfig {
            heads,
            blocks: 1,
            self_attention: true,
        })
    };
    UNetConfig {
        in_channels: 4,
        out_channels: 4,
        levels: [320, 640, 1280, 1280]
            .iter()
            .enumerate()
            .map(|(i, &channels)| LevelConfig {
                channels,
                resnet_blocks: 2,
                transformer: if i < 3 { t(heads[i]) } else { None },
            })
            .collect(),
        mid_transformer: t(heads[3]),
        context_width: Some(context),
        vector: VectorConfig::None,
        norm_groups: 32,
        norm_eps: NormEps::default(),
        projection: ProjectionLayout::Linear,
    }
}
#[test]
fn counts() {
    let d = Device::flex();
    let temporal = TemporalConfig {
        context_width: Some(768),
        observed: None,
        positions: true,
        alpha: vldm::nn::temporal::AlphaConfig::Scalar,
        start: vldm::nn::temporal::TemporalStart::Identity,
    };
    let c = sd([8; 4], 768);
    println!(
        "sd14 {} {}",
        UNet::new(&c, &Init::new(&d, 0)).num_params(),
        TemporalLayers::new(&c, &temporal, &Init::new(&d, 0)).num_params()
    );
    let c = sd([5, 10, 20, 20], 1024);
    let temporal = TemporalConfig {
        context_width: Some(1024),
        ..temporal
    };
    println!(
        "sd21 {} {}",
        UNet::new(&c, &Init::new(&d, 0)).num_params(),
        TemporalLayers::new(&c, &temporal, &Init::new(&d, 0)).num_params()
    );
    let t = |heads, s| {
        Some(TransformerConfig {
            heads,
            blocks: 1,
            self_attention: s,
        })
    };
    let x4 = UNetConfig {
        in_channels: 7,
        out_channels: 4,
        levels: vec![
            LevelConfig {
                channels: 256,
                resnet_blocks: 2,
                transformer: None,
            },
            LevelConfig {
                channels: 512,
                resnet_blocks: 2,
                transformer: t(8, false),
            },
            LevelConfig {
                channels: 512,
                resnet_blocks: 2,
                transformer: t(8, false),
            },
            LevelConfig {
                channels: 1024,
                resnet_blocks: 2,
                transformer: t(8, true),
            },
        ],
        mid_transformer: t(8, true),
        context_width: Some(1024),
        vector: VectorConfig::Label { count: 1000 },
        norm_groups: 32,
        norm_eps: NormEps::default(),
        projection: ProjectionLayout::Linear,
    };
    println!("x4 {}", UNet::new(&x4, &Init::new(&d, 0)).num_params());
    for (mid) in [true, false] {
        let mut x = x4.clone();
        x.mid_transformer = t(8, mid);
        for obs in [
            None,
            Some(ObservedConfig {
                in_channels: 3,
                channels: 128,
            }),
        ] {
            let temporal = TemporalConfig {
                context_width: Some(1024),
                observed: obs,
                ..temporal.clone()
            };
            println!(
                "x4 temporal mid {mid} {obs:?} {}",
                TemporalLayers::new(&x, &temporal, &Init::new(&d, 0)).num_params()
            );
        }
    }
    for s in [[false, false, false], [true, true, true]] {
        let mut x = x4.clone();
        for i in 1..4 {
            x.levels[i].transformer = t(8, s[i - 1]);
        }
        let temporal = TemporalConfig {
            context_width: Some(1024),
            observed: Some(ObservedConfig {
                in_channels: 3,
                channels: 128,
            }),
            ..temporal.clone()
        };
        println!(
            "x4 temporal all self {s:?} {}",
            TemporalLayers::new(&x, &temporal, &Init::new(&d, 0)).num_params()
        );
    }
    let dr = |ctx| UNetConfig {
        in_channels: 4,
        out_channels: 4,
        levels: [1, 2, 2, 3, 4]
            .iter()
            .enumerate()
            .map(|(i, m)| LevelConfig {
                channels: 224 * m,
                resnet_blocks: 4,
                transformer: if i < 3 { t(224 * m / 32, true) } else { None },
            })
            .collect(),
        mid_transformer: t(28, true),
        context_width: ctx,
        vector: VectorConfig::None,
        norm_groups: 32,
        norm_eps: NormEps::default(),
        projection: ProjectionLayout::Linear,
    };
    println!(
        "driving {}",
        UNet::new(&dr(Some(256)), &Init::new(&d, 0)).num_params()
    );
    let temporal = TemporalConfig {
        context_width: None,
        observed: Some(ObservedConfig {
            in_channels: 5,
            channels: 128,
        }),
        ..temporal.clone()
    };
    println!(
        "driving prediction {}",
        TemporalLayers::new(&dr(Some(256)), &temporal, &Init::new(&d, 0)).num_params()
    );
    let temporal = TemporalConfig {
        context_width: Some(512),
        ..temporal.clone()
    };
    println!(
        "driving interpolation {}",
        TemporalLayers::new(&dr(Some(256)), &temporal, &Init::new(&d, 0)).num_params()
    );
    let v = AutoencoderConfig {
        image_channels: 3,
        latent_channels: 4,
        levels: [128, 256, 512, 512]
            .iter()
            .map(|&channels| AutoencoderLevel {
                channels,
                attention: false,
            })
            .collect(),
        resnet_blocks: 2,
        decoder_mid_resnet_blocks: 2,
        mid_attention: true,
        norm_groups: 32,
        regularization: Regularization::Kl,
        quant_conv: true,
        post_quant_conv: true,
        scale_factor: 0.18215,
    };
    println!(
        "vae {}",
        Autoencoder::new(&v, &Init::new(&d, 0)).num_params()
    );
    for kernel in [
        vldm::nn::temporal::TimeKernel::Time,
        vldm::nn::temporal::TimeKernel::TimeAndSpace,
    ] {
        println!(
            "temporal decoder {}",
            TemporalDecoderLayers::new(
                &v,
                TemporalDecoderConfig {
                    kernel,
                    alpha: vldm::nn::temporal::AlphaConfig::Scalar,
                    start: vldm::nn::temporal::TemporalStart::Identity
                },
                &Init::new(&d, 0)
            )
            .num_params()
        );
    }
}
