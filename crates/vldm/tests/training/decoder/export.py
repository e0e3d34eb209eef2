"""The first step of a decoder with 3×3×3 temporal layers, against a discriminator of clips; the encoder is frozen.

The decoder is AutoencoderKL's (with its post_quant_conv) with the temporal residual blocks, mixers and last convolution of
diffusers' AutoencoderKLTemporalDecoder, under that network's names; as there, `mix_factor` weighs the temporal branch.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403
import adversary
import video

from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D

SEED = 114
BATCH, FRAMES, HEIGHT, WIDTH, JUDGE, GROUPS, KERNEL = 2, 4, 32, 40, 4, 4, (3, 3, 3)


class WithTemporal(torch.nn.Module):
    """A decoder's residual block, then a temporal one that does not read the noise level."""

    def __init__(self, spatial):
        super().__init__()
        self.spatial = spatial
        self.temporal = video.TemporalResnet(spatial.out_channels, None, GROUPS, 1e-5, kernel=KERNEL)
        self.mix_factor = torch.nn.Parameter(torch.zeros(1))

    def forward(self, hidden, temb=None):
        hidden = self.spatial(hidden, temb)
        x = hidden.unflatten(0, (-1, FRAMES)).transpose(1, 2)
        share = torch.sigmoid(self.mix_factor)
        return ((1 - share) * x + share * self.temporal(x)).transpose(1, 2).flatten(0, 1)


def insert(vae):
    """Puts the temporal layers in; returns them by diffusers' names."""
    parameters = {}
    for path, module in list(vae.named_modules()):
        if path.startswith("decoder.") and isinstance(module, ResnetBlock2D):
            owner, _, index = path.rpartition(".")
            both = WithTemporal(module)
            vae.get_submodule(owner)[int(index)] = both
            parameters |= {f"{path}.temporal_res_block.{name}": value for name, value in both.temporal.named_parameters()}
            parameters[f"{path}.time_mixer.mix_factor"] = both.mix_factor
    last = torch.nn.Conv3d(3, 3, KERNEL, padding=1)
    return last, parameters | {f"decoder.time_conv_out.{name}": value for name, value in last.named_parameters()}


def build():
    return randomise(
        AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=GROUPS,
            sample_size=32,
        ),
        SEED,
    )


def main():
    vae = build()
    spatial = dict(vae.named_parameters())
    last, temporal = insert(vae)
    video.randomise_temporal(temporal, SEED + 1)
    discriminator = randomise(adversary.of_clips(JUDGE), SEED + 2, {"convs.4.": 4})
    case = Case(__file__, "decoder", SEED, trained=["decoder", "temporal_decoder", "discriminator"], discriminator_channels=JUDGE)
    case.component("vae", build(), spatial)
    case.file("temporal_decoder", temporal, {"kernel": "3x3x3", "alpha": {"type": "scalar"}, "start": "svd"})
    case.file("discriminator", dict(discriminator.named_parameters()))
    case.index("StableDiffusionPipeline", vae=["diffusers", "AutoencoderKL"])
    inputs = {
        "pixels": uniform(SEED, "pixels", (1, BATCH, FRAMES, 3, HEIGHT, WIDTH), -1, 1),
        "posterior_noise": normal(SEED, "posterior noise", (1, BATCH, FRAMES, 4, HEIGHT // 2, WIDTH // 2)),
    }

    def forward(batch, dtype):
        pixels = batch["pixels"].to(dtype)
        posterior = vae.encode(pixels.flatten(0, 1)).latent_dist
        latents = posterior.mean + posterior.std * batch["posterior_noise"].flatten(0, 1).to(dtype)
        frames = vae.decode(latents).sample.unflatten(0, (-1, FRAMES)).transpose(1, 2)
        return pixels.transpose(1, 2), last(frames), {}

    trained = {name: value for name, value in spatial.items() if name.startswith(("decoder.", "post_quant_conv."))} | temporal
    root = torch.nn.ModuleDict({"vae": vae, "last": last, "discriminator": discriminator})
    adversary.first_step(case, root, trained, discriminator, last.weight, inputs, forward)


if __name__ == "__main__":
    main()
