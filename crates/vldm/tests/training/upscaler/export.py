"""The x4-upscaler's image model: noised low-resolution RGB beside the latents, its noise level as a class."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from diffusers import UNet2DConditionModel

SEED = 105
BATCH, LEVELS = 2, 100


def main():
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=7,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=6,
        attention_head_dim=2,
        only_cross_attention=(True, True),
        use_linear_projection=True,
        num_class_embeds=LEVELS,
    )
    randomise(unet, SEED, {"conv_out.weight": 0.7})
    noise = Noise("scaled_linear", 0.0001, 0.02, "v")
    case = Case(__file__, "upscaler", SEED, trained=["unet"], **noise.settings, max_noise_level=LEVELS)
    case.component("unet", unet)
    case.index("StableDiffusionUpscalePipeline", noise, unet=["diffusers", "UNet2DConditionModel"])
    inputs = {
        "x0": normal(SEED, "x0", (STEPS, BATCH, 1, 4, 8, 8)),
        "noise": normal(SEED, "noise", (STEPS, BATCH, 1, 4, 8, 8)),
        "timesteps": integers(SEED, "timesteps", (STEPS, BATCH), 0, 1000),
        "context": normal(SEED, "context", (STEPS, BATCH, 5, 6)),
        "low": uniform(SEED, "low", (STEPS, BATCH, 1, 3, 8, 8), -1, 1),
        "augmentation_noise": normal(SEED, "augmentation noise", (STEPS, BATCH, 1, 3, 8, 8)),
        "augmentation_timesteps": integers(SEED, "augmentation timesteps", (STEPS, BATCH), 0, LEVELS),
    }

    def loss(batch, dtype, _step):
        clean, noised, timesteps = batch["x0"][:, 0], batch["noise"][:, 0], batch["timesteps"]
        levels = batch["augmentation_timesteps"]
        low = noise.noised(batch["low"][:, 0], batch["augmentation_noise"][:, 0], levels)
        x = torch.cat([noise.noised(clean, noised, timesteps), low], 1).to(dtype)
        predicted = unet(x, timesteps, encoder_hidden_states=batch["context"].to(dtype), class_labels=levels).sample
        return weighted(predicted, noise.target(clean, noised, timesteps))

    case.train(unet, unet.named_parameters(), inputs, loss)


if __name__ == "__main__":
    main()
