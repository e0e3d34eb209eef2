"""Driving, interpolation: three frames between two given ones, one mixing weight per frame, the regime as the temporal token."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403
import video

SEED = 110
BATCH, FRAMES, CONTEXT, TEMPORAL_CONTEXT, OBSERVED = 2, 5, 6, 10, (5, 8)
COUNTS = (2, 5)


def main():
    unet = video.image_model(SEED, CONTEXT)
    state, temporal, spatial = video.insert(unet, TEMPORAL_CONTEXT, OBSERVED, mixing_weights=FRAMES)
    video.randomise_temporal(temporal, SEED + 1)
    labels, rate = video.Labels(COUNTS, CONTEXT, SEED + 2), video.FrameRate(TEMPORAL_CONTEXT, SEED + 3)
    noise = Noise("scaled_linear", 0.0015, 0.0195, "v")
    case = Case(__file__, "interpolation", SEED, trained=["temporal", "frame_rate"], **noise.settings)
    case.component("unet", video.image_model(SEED, CONTEXT), spatial)
    observed = {"in_channels": OBSERVED[0], "channels": OBSERVED[1]}
    alpha = {"type": "per_frame", "frames": FRAMES}
    config = {"context_width": TEMPORAL_CONTEXT, "observed": observed, "positions": True, "alpha": alpha, "start": "svd"}
    case.file("temporal", temporal, config)
    case.file("labels", dict(labels.named_parameters()), labels.config)
    case.file("frame_rate", dict(rate.named_parameters()), rate.config)
    case.index("StableDiffusionPipeline", noise, unet=["diffusers", "UNet2DConditionModel"])
    shape = (STEPS, BATCH, FRAMES, 4, 4, 6)
    inputs = {
        "x0": normal(SEED, "x0", shape),
        "noise": normal(SEED, "noise", shape),
        "timesteps": integers(SEED, "timesteps", (STEPS, BATCH), 0, 1000),
        "labels": torch.stack([integers(SEED, f"label {i}", (STEPS, BATCH), 0, count + 1) for i, count in enumerate(COUNTS)], -1),
        "given": torch.tensor([1.0, 0, 0, 0, 1]).expand(STEPS, BATCH, FRAMES),
        "augmentation_noise": normal(SEED, "augmentation noise", shape),
        "augmentation_timesteps": integers(SEED, "augmentation timesteps", (STEPS, BATCH), 0, 250),
        "regimes": integers(SEED, "regimes", (STEPS, BATCH), 0, 2),
    }

    def loss(batch, dtype, _step):
        state.observed = video.observed_frames(noise, batch).to(dtype)
        state.context = rate(batch["regimes"])
        x = noise.noised(batch["x0"], batch["noise"], batch["timesteps"]).to(dtype)
        predicted = video.call(unet, state, x, batch["timesteps"], labels(batch["labels"]))
        return weighted(predicted, noise.target(batch["x0"], batch["noise"], batch["timesteps"]), batch["given"])

    trained = temporal | {f"frame_rate.{name}": value for name, value in rate.named_parameters()}
    case.train(torch.nn.ModuleList([unet, labels, rate]), trained, inputs, loss)


if __name__ == "__main__":
    main()
