"""Image networks nobody would choose, linear projections: widths that shrink, heads that do not divide them, one boolean for cross-attention only."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from diffusers import AutoencoderKL, UNet2DConditionModel

SEED = 102


def build():
    unet = UNet2DConditionModel(
        sample_size=9,
        in_channels=5,
        out_channels=3,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(20, 12),
        layers_per_block=1,
        norm_num_groups=2,
        norm_eps=3e-6,
        cross_attention_dim=6,
        # 20 channels in 3 heads: 6 each, so the transformer is 18 wide.
        attention_head_dim=(3, 2),
        transformer_layers_per_block=(1, 2),
        only_cross_attention=True,
        use_linear_projection=True,
        num_class_embeds=7,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(6, 12, 9),
        layers_per_block=3,
        latent_channels=3,
        norm_num_groups=3,
        scaling_factor=1.7,
    )
    randomise(unet, SEED, FAINT)
    randomise(vae, SEED + 1)
    return unet, vae


def save(folder, unet, vae):
    fresh(folder)
    save_component(unet, folder / "unet")
    save_component(vae, folder / "vae")
    write_json(folder / "scheduler" / "scheduler_config.json", SD2_SCHEDULER)
    write_model_index(
        folder,
        "StableDiffusionPipeline",
        scheduler=["diffusers", "DDIMScheduler"],
        unet=["diffusers", "UNet2DConditionModel"],
        vae=["diffusers", "AutoencoderKL"],
    )


def main():
    unet, vae = build()
    save(HERE / "model", unet, vae)
    write_json(HERE / "norm_eps.json", norm_eps(unet=unet, vae=vae))
    reference = Reference(SEED, __file__)
    unet_case(
        reference, "9x13", unet, normal(SEED, "a", (2, 5, 9, 13)), torch.tensor([12.5]), normal(SEED, "b", (2, 3, 6)),
        class_labels=torch.tensor([6, 1]),
    )
    unet_case(
        reference, "5x3", unet, normal(SEED, "c", (1, 5, 5, 3)), torch.tensor([500]), normal(SEED, "d", (1, 77, 6)), class_labels=torch.tensor([0])
    )
    vae_cases(reference, "9x13", vae, uniform(SEED, "e", (1, 3, 36, 52), -1, 1), normal(SEED, "f", (1, 3, 9, 13)))
    vae_cases(reference, "batch", vae, uniform(SEED, "g", (3, 3, 21, 30), -1, 1), normal(SEED, "h", (3, 3, 3, 5)))
    reference.write(HERE / "reference.safetensors")


if __name__ == "__main__":
    main()
