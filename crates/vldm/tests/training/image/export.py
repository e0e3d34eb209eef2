"""An image U-Net in the manner of SD 1.x, all of it trained on ε."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from diffusers import UNet2DConditionModel

SEED = 101
BATCH = 3


def main():
    unet = UNet2DConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=6,
        attention_head_dim=2,
    )
    randomise(unet, SEED, {"conv_out.weight": 0.7})
    noise = Noise("scaled_linear", 0.00085, 0.012, "epsilon")
    case = Case(__file__, "image", SEED, trained=["unet"], **noise.settings)
    case.component("unet", unet)
    case.index("StableDiffusionPipeline", noise, unet=["diffusers", "UNet2DConditionModel"])
    inputs = {
        "x0": normal(SEED, "x0", (STEPS, BATCH, 1, 4, 8, 8)),
        "noise": normal(SEED, "noise", (STEPS, BATCH, 1, 4, 8, 8)),
        "timesteps": integers(SEED, "timesteps", (STEPS, BATCH), 0, 1000),
        "context": normal(SEED, "context", (STEPS, BATCH, 5, 6)),
    }

    def loss(batch, dtype, _step):
        clean, noised, timesteps = batch["x0"][:, 0], batch["noise"][:, 0], batch["timesteps"]
        x = noise.noised(clean, noised, timesteps).to(dtype)
        predicted = unet(x, timesteps, encoder_hidden_states=batch["context"].to(dtype)).sample
        return weighted(predicted, noise.target(clean, noised, timesteps))

    case.train(unet, unet.named_parameters(), inputs, loss)


if __name__ == "__main__":
    main()
