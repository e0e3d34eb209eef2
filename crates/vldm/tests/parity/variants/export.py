"""One small Stable Diffusion stored in the ways people store it: f32, f16 and bf16, whole and in shards, with and without a variant in the name."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from diffusers import AutoencoderKL, UNet2DConditionModel

SEED = 104
# Folder, storage precision, largest shard, variant in the file name.
VARIANTS = [
    ("f32_sharded", torch.float32, "80KB", None),
    ("bf16", torch.bfloat16, None, None),
    ("fp16_variant", torch.float16, None, "fp16"),
]


def build():
    unet = UNet2DConditionModel(
        sample_size=6,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=6,
        attention_head_dim=2,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
    )
    return randomise(unet, SEED), randomise(vae, SEED + 1)


def main():
    for folder, dtype, shard, variant in VARIANTS:
        unet, vae = build()
        target = fresh(HERE / folder)
        options = {key: value for key, value in {"max_shard_size": shard, "variant": variant}.items() if value}
        save_component(unet, target / "model" / "unet", dtype, **options)
        save_component(vae, target / "model" / "vae", dtype, **options)
        write_json(target / "model" / "scheduler" / "scheduler_config.json", SD1_SCHEDULER)
        write_model_index(
            target / "model",
            "StableDiffusionPipeline",
            scheduler=["diffusers", "PNDMScheduler"],
            unet=["diffusers", "UNet2DConditionModel"],
            vae=["diffusers", "AutoencoderKL"],
        )
        reference = Reference(SEED, __file__)
        unet_case(reference, folder, unet, normal(SEED, "a", (1, 4, 6, 6)), torch.tensor([250]), normal(SEED, "b", (1, 4, 6)))
        vae_cases(reference, folder, vae, uniform(SEED, "c", (1, 3, 12, 8), -1, 1), normal(SEED, "d", (1, 4, 6, 4)))
        reference.write(target / "reference.safetensors")


if __name__ == "__main__":
    main()
