"""Text-to-video, interpolation: given frames and mask beside the noisy ones, regime and rate as temporal tokens, all of it trained, ε."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403
import video

SEED = 111
BATCH, FRAMES, CONTEXT, TEMPORAL_CONTEXT = 2, 5, 6, 10


def main():
    unet = video.image_model(SEED, CONTEXT, in_channels=9)
    state, temporal, spatial = video.insert(unet, TEMPORAL_CONTEXT)
    video.randomise_temporal(temporal, SEED + 1)
    rate = video.FrameRate(TEMPORAL_CONTEXT, SEED + 2, rate=True)
    noise = Noise("scaled_linear", 0.00085, 0.012, "epsilon")
    case = Case(__file__, "interpolation", SEED, trained=["unet", "temporal", "frame_rate"], **noise.settings)
    case.component("unet", video.image_model(SEED, CONTEXT, in_channels=9), spatial)
    case.file(
        "temporal", temporal, {"context_width": TEMPORAL_CONTEXT, "positions": True, "alpha": {"type": "scalar"}, "start": "svd"}
    )
    case.file("frame_rate", dict(rate.named_parameters()), rate.config)
    case.index("StableDiffusionPipeline", noise, unet=["diffusers", "UNet2DConditionModel"])
    shape = (STEPS, BATCH, FRAMES, 4, 4, 6)
    regimes = integers(SEED, "regimes", (STEPS, BATCH), 0, 2)
    inputs = {
        "x0": normal(SEED, "x0", shape),
        "noise": normal(SEED, "noise", shape),
        "timesteps": integers(SEED, "timesteps", (STEPS, BATCH), 0, 1000),
        "context": normal(SEED, "context", (STEPS, BATCH, 5, CONTEXT)),
        "given": torch.tensor([1.0, 0, 0, 0, 1]).expand(STEPS, BATCH, FRAMES),
        "augmentation_noise": normal(SEED, "augmentation noise", shape),
        "augmentation_timesteps": integers(SEED, "augmentation timesteps", (STEPS, BATCH), 0, 250),
        "regimes": regimes,
        "fps": torch.tensor([7.5, 30.0])[regimes],
    }

    def loss(batch, dtype, _step):
        state.context = rate(batch["regimes"], batch["fps"])
        x = noise.noised(batch["x0"], batch["noise"], batch["timesteps"])
        x = torch.cat([x, video.observed_frames(noise, batch)], 2).to(dtype)
        predicted = video.call(unet, state, x, batch["timesteps"], batch["context"].to(dtype))
        return weighted(predicted, noise.target(batch["x0"], batch["noise"], batch["timesteps"]), batch["given"])

    trained = spatial | temporal | {f"frame_rate.{name}": value for name, value in rate.named_parameters()}
    case.train(torch.nn.ModuleList([unet, rate]), trained, inputs, loss)


if __name__ == "__main__":
    main()
