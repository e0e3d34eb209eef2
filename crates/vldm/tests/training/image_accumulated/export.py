"""A v-predicting image U-Net with linear projections: two micro-batches a step, warm-up, then a cosine."""

import math
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from diffusers import UNet2DConditionModel

SEED = 102
BATCH, MICRO_BATCHES, WARM_UP = 2, 2, 4


def factor(step):
    """What the rate is multiplied by at a step, counted from 0."""
    if step < WARM_UP:
        return min(1.0, (step + 1) / WARM_UP)
    return 0.1 + 0.9 * (1 + math.cos(math.pi * (step - WARM_UP) / (STEPS - WARM_UP))) / 2


def main():
    unet = UNet2DConditionModel(
        sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=6,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
    )
    randomise(unet, SEED, {"conv_out.weight": 0.7})
    noise = Noise("scaled_linear", 0.0015, 0.0195, "v")
    schedule = {
        "micro_batches": MICRO_BATCHES,
        "warm_up": WARM_UP,
        "schedule_formula": "step k from 0: (k+1)/4 for k < 4, else 0.1 + 0.9 (1 + cos(pi (k-4)/(10-4)))/2",
        "learning_rate_factors": [factor(step) for step in range(STEPS)],
    }
    case = Case(__file__, "image", SEED, trained=["unet"], **noise.settings, **schedule)
    case.component("unet", unet)
    case.index("StableDiffusionPipeline", noise, unet=["diffusers", "UNet2DConditionModel"])
    shape = (STEPS, MICRO_BATCHES, BATCH)
    inputs = {
        "x0": normal(SEED, "x0", (*shape, 1, 4, 8, 8)),
        "noise": normal(SEED, "noise", (*shape, 1, 4, 8, 8)),
        "timesteps": integers(SEED, "timesteps", shape, 0, 1000),
        "context": normal(SEED, "context", (*shape, 5, 6)),
    }

    def loss(batch, dtype, _step):
        clean, noised, timesteps = batch["x0"][:, 0], batch["noise"][:, 0], batch["timesteps"]
        x = noise.noised(clean, noised, timesteps).to(dtype)
        predicted = unet(x, timesteps, encoder_hidden_states=batch["context"].to(dtype)).sample
        return weighted(predicted, noise.target(clean, noised, timesteps))

    case.train(unet, unet.named_parameters(), inputs, loss, factor, MICRO_BATCHES)


if __name__ == "__main__":
    main()
