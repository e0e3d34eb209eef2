"""The published models at full size, without memory: their parameter counts, per component and, for the video ones, per kind."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder, UNet2DConditionModel, UNetSpatioTemporalConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

ATTENTION, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
UP_ATTENTION, UP_PLAIN = "CrossAttnUpBlock2D", "UpBlock2D"


def unet(**options):
    return UNet2DConditionModel(
        down_block_types=(ATTENTION,) * 3 + (PLAIN,), up_block_types=(UP_PLAIN,) + (UP_ATTENTION,) * 3, block_out_channels=(320, 640, 1280, 1280), **options
    )


def vae(channels):
    levels = len(channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels, block_out_channels=channels, layers_per_block=2
    )


def text(width, layers, heads, activation):
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads, hidden_act=activation
        )
    )


def models():
    """Every model's components, on the meta device."""
    with torch.device("meta"):
        image_vae = vae((128, 256, 512, 512))
        return {
            "sd14": {"unet": unet(cross_attention_dim=768, attention_head_dim=8), "vae": image_vae, "text_encoder": text(768, 12, 12, "quick_gelu")},
            "sd21": {
                "unet": unet(cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True),
                "vae": image_vae,
                "text_encoder": text(1024, 23, 16, "gelu"),
            },
            "x4": {
                "unet": UNet2DConditionModel(
                    in_channels=7,
                    down_block_types=(PLAIN,) + (ATTENTION,) * 3,
                    up_block_types=(UP_ATTENTION,) * 3 + (UP_PLAIN,),
                    block_out_channels=(256, 512, 512, 1024),
                    cross_attention_dim=1024,
                    attention_head_dim=8,
                    only_cross_attention=(True, True, True, False),
                    use_linear_projection=True,
                    num_class_embeds=1000,
                ),
                "vae": vae((128, 256, 512)),
                "text_encoder": text(1024, 23, 16, "gelu"),
            },
            "svd": {
                "unet": UNetSpatioTemporalConditionModel(sample_size=96, num_frames=14),
                "vae": AutoencoderKLTemporalDecoder(
                    block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4, layers_per_block=2
                ),
                "image_encoder": CLIPVisionModelWithProjection(
                    CLIPVisionConfig(
                        hidden_size=1280, intermediate_size=5120, projection_dim=1024, num_hidden_layers=32, num_attention_heads=16,
                        image_size=224, patch_size=14, hidden_act="gelu",
                    )
                ),
            },
        }


def count(module, keep=lambda name: True):
    return sum(parameter.numel() for name, parameter in module.named_parameters() if keep(name))


def main():
    temporal = lambda name: any(part in name for part in TEMPORAL)
    counts = {}
    for model, parts in models().items():
        for part, module in parts.items():
            entry = {"parameters": count(module), "tensors": len(list(module.named_parameters()))}
            if part == "vae":
                entry |= {half: count(getattr(module, half)) for half in ("encoder", "decoder")}
            if model == "svd" and part != "image_encoder":
                entry |= {"temporal": count(module, temporal), "spatial": count(module, lambda name: not temporal(name))}
            counts.setdefault(model, {})[part] = entry
    head = {"reference": {name: importlib.metadata.version(name) for name in ("diffusers", "transformers")}}
    write_json(HERE.parent / "parameter_counts.json", head | counts)
    for model, parts in counts.items():
        for part, entry in parts.items():
            print(model, part, entry)


if __name__ == "__main__":
    main()
