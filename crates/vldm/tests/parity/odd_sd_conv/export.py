"""Image networks nobody would choose, convolutional projections: three levels, other layer counts per level, no multiple of anything.

The U-Net and the autoencoder are faint: every normalisation sees values of about 0.01, so a wrong eps shows.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

SEED = 101


def build():
    unet = UNet2DConditionModel(
        sample_size=(7, 11),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(12, 18, 24),
        layers_per_block=(1, 3, 2),
        norm_num_groups=3,
        cross_attention_dim=10,
        attention_head_dim=(2, 3, 4),
        transformer_layers_per_block=(2, 1, 1),
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(12, 6),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=3,
        scaling_factor=0.3,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=300, hidden_size=12, intermediate_size=20, num_hidden_layers=1, num_attention_heads=4, max_position_embeddings=77,
            hidden_act="quick_gelu", layer_norm_eps=1e-4,
        )
    )
    randomise(unet, SEED, FAINT)
    # The log-variance leaves its range of -30..20 in places, where diffusers clamps it.
    randomise(vae, SEED + 1, FAINT | {"quant_conv.weight": 30.0, "post_quant_conv.weight": 1 / 30.0})
    randomise(text, SEED + 2)
    return unet, vae, text


def save(folder, unet, vae, text):
    fresh(folder)
    save_component(unet, folder / "unet")
    save_component(vae, folder / "vae")
    save_component(text, folder / "text_encoder")
    write_json(folder / "scheduler" / "scheduler_config.json", SD1_SCHEDULER)
    write_model_index(
        folder,
        "StableDiffusionPipeline",
        scheduler=["diffusers", "PNDMScheduler"],
        text_encoder=["transformers", "CLIPTextModel"],
        unet=["diffusers", "UNet2DConditionModel"],
        vae=["diffusers", "AutoencoderKL"],
    )


def main():
    unet, vae, text = build()
    save(HERE / "model", unet, vae, text)
    write_json(HERE / "norm_eps.json", norm_eps(unet=unet, vae=vae, text_encoder=text))
    reference = Reference(SEED, __file__)
    unet_case(reference, "7x11", unet, normal(SEED, "a", (3, 4, 7, 11)), torch.tensor([77]), normal(SEED, "b", (3, 9, 10)))
    unet_case(reference, "13x9", unet, normal(SEED, "c", (1, 4, 13, 9)), torch.tensor([998]), normal(SEED, "d", (1, 1, 10)))
    vae_cases(reference, "7x11", vae, uniform(SEED, "e", (3, 3, 14, 22), -1, 1), normal(SEED, "f", (3, 4, 7, 11)))
    vae_cases(reference, "odd_pixels", vae, uniform(SEED, "g", (1, 3, 15, 23), -1, 1), None)
    ids = torch.randint(0, 300, (2, 77), generator=generator(SEED, "ids"))
    text_case(reference, "words", text, ids)
    reference.write(HERE / "reference.safetensors")


if __name__ == "__main__":
    main()
