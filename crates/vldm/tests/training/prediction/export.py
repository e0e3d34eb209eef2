"""Driving, prediction: up to two frames given through the context path, temporal layers without cross-attention, v."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403
import video

SEED = 109
BATCH, FRAMES, CONTEXT, OBSERVED = 2, 4, 6, (5, 8)
COUNTS = (2, 5)
GIVEN = [(0, 2), (2, 1), (1, 0), (2, 2), (0, 1), (1, 1), (2, 0), (1, 2), (0, 0), (2, 1)]


def main():
    unet = video.image_model(SEED, CONTEXT)
    state, temporal, spatial = video.insert(unet, observed=OBSERVED)
    video.randomise_temporal(temporal, SEED + 1)
    labels = video.Labels(COUNTS, CONTEXT, SEED + 2)
    noise = Noise("scaled_linear", 0.0015, 0.0195, "v")
    case = Case(__file__, "prediction", SEED, trained=["temporal"], **noise.settings)
    case.component("unet", video.image_model(SEED, CONTEXT), spatial)
    observed = {"in_channels": OBSERVED[0], "channels": OBSERVED[1]}
    alpha = {"type": "scalar"}
    case.file("temporal", temporal, {"context_width": None, "observed": observed, "positions": True, "alpha": alpha, "start": "svd"})
    case.file("labels", dict(labels.named_parameters()), labels.config)
    case.index("StableDiffusionPipeline", noise, unet=["diffusers", "UNet2DConditionModel"])
    shape = (STEPS, BATCH, FRAMES, 4, 4, 6)
    given = torch.tensor(GIVEN)[:, :, None] > torch.arange(FRAMES)
    inputs = {
        "x0": normal(SEED, "x0", shape),
        "noise": normal(SEED, "noise", shape),
        "timesteps": integers(SEED, "timesteps", (STEPS, BATCH), 0, 1000),
        "labels": torch.stack([integers(SEED, f"label {i}", (STEPS, BATCH), 0, count + 1) for i, count in enumerate(COUNTS)], -1),
        "given": given.float(),
        "augmentation_noise": normal(SEED, "augmentation noise", shape),
        "augmentation_timesteps": integers(SEED, "augmentation timesteps", (STEPS, BATCH), 0, 250),
        "first_frame": torch.tensor([0, 3, 17, 64, 1, 40, 0, 9, 28, 5]),
    }

    def loss(batch, dtype, _step):
        state.first_frame = int(batch["first_frame"])
        state.observed = video.observed_frames(noise, batch).to(dtype)
        x = noise.noised(batch["x0"], batch["noise"], batch["timesteps"]).to(dtype)
        predicted = video.call(unet, state, x, batch["timesteps"], labels(batch["labels"]))
        return weighted(predicted, noise.target(batch["x0"], batch["noise"], batch["timesteps"]), batch["given"])

    case.train(torch.nn.ModuleList([unet, labels]), temporal, inputs, loss)


if __name__ == "__main__":
    main()
