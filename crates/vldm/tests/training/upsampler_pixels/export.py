"""Driving, upsampler in pixels: the noised small frames beside the noisy ones and in the context path, no frame index, v, linear betas."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403
import video

SEED = 113
BATCH, FRAMES, CONTEXT, OBSERVED, FACTOR, LEVELS = 2, 4, 6, (3, 8), 4, 100
COUNTS = (2, 5)
UNET = {"in_channels": 6, "out_channels": 3, "num_class_embeds": LEVELS}


def main():
    unet = video.image_model(SEED, CONTEXT, **UNET)
    state, temporal, spatial = video.insert(unet, CONTEXT, OBSERVED, positions=False)
    video.randomise_temporal(temporal, SEED + 1)
    labels = video.Labels(COUNTS, CONTEXT, SEED + 2)
    noise = Noise("linear", 0.0001, 0.02, "v")
    case = Case(__file__, "upsampler", SEED, trained=["temporal"], **noise.settings, max_noise_level=LEVELS, factor=FACTOR)
    case.component("unet", video.image_model(SEED, CONTEXT, **UNET), spatial)
    observed = {"in_channels": OBSERVED[0], "channels": OBSERVED[1]}
    alpha = {"type": "scalar"}
    case.file(
        "temporal", temporal, {"context_width": CONTEXT, "observed": observed, "positions": False, "alpha": alpha, "start": "svd"}
    )
    case.file("labels", dict(labels.named_parameters()), labels.config)
    case.index("StableDiffusionUpscalePipeline", noise, unet=["diffusers", "UNet2DConditionModel"])
    small, large = (STEPS, BATCH, FRAMES, 3, 1, 2), (STEPS, BATCH, FRAMES, 3, 4, 8)
    inputs = {
        "x0": uniform(SEED, "x0", large, -1, 1),
        "noise": normal(SEED, "noise", large),
        "timesteps": integers(SEED, "timesteps", (STEPS, BATCH), 0, 1000),
        "labels": torch.stack([integers(SEED, f"label {i}", (STEPS, BATCH), 0, count + 1) for i, count in enumerate(COUNTS)], -1),
        "low": uniform(SEED, "low", small, -1, 1),
        "augmentation_noise": normal(SEED, "augmentation noise", small),
        "augmentation_timesteps": integers(SEED, "augmentation timesteps", (STEPS, BATCH), 0, LEVELS),
    }

    def loss(batch, dtype, _step):
        levels, timesteps = batch["augmentation_timesteps"], batch["timesteps"]
        low = noise.noised(batch["low"], batch["augmentation_noise"], levels)
        low = low.repeat_interleave(FACTOR, -1).repeat_interleave(FACTOR, -2)
        context = labels(batch["labels"])
        state.observed, state.context = low.to(dtype), context
        x = torch.cat([noise.noised(batch["x0"], batch["noise"], timesteps), low], 2).to(dtype)
        predicted = video.call(unet, state, x, timesteps, context, class_labels=levels)
        return weighted(predicted, noise.target(batch["x0"], batch["noise"], timesteps))

    case.train(torch.nn.ModuleList([unet, labels]), temporal, inputs, loss)


if __name__ == "__main__":
    main()
