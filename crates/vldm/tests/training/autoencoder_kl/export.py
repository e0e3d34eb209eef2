"""The first step of a continuous autoencoder: L1, KL and a discriminator whose weight adapts."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403
import adversary

from diffusers import AutoencoderKL

SEED = 107
BATCH, HEIGHT, WIDTH, JUDGE = 2, 32, 24, 4


def main():
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    )
    discriminator = randomise(adversary.of_pictures(JUDGE), SEED + 1, {"convs.4.": 4})
    randomise(vae, SEED)
    case = Case(__file__, "autoencoder", SEED, trained=["vae", "discriminator"], discriminator_channels=JUDGE)
    case.component("vae", vae)
    case.file("discriminator", dict(discriminator.named_parameters()))
    case.index("StableDiffusionPipeline", vae=["diffusers", "AutoencoderKL"])
    inputs = {
        "pixels": uniform(SEED, "pixels", (1, BATCH, 1, 3, HEIGHT, WIDTH), -1, 1),
        "posterior_noise": normal(SEED, "posterior noise", (1, BATCH, 1, 4, HEIGHT // 2, WIDTH // 2)),
    }

    def forward(batch, dtype):
        pixels = batch["pixels"][:, 0].to(dtype)
        posterior = vae.encode(pixels).latent_dist
        made = vae.decode(posterior.mean + posterior.std * batch["posterior_noise"][:, 0].to(dtype)).sample
        kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).sum() / BATCH
        return pixels, made, {"kl": (1e-6, kl)}

    root = torch.nn.ModuleDict({"vae": vae, "discriminator": discriminator})
    adversary.first_step(case, root, dict(vae.named_parameters()), discriminator, vae.decoder.conv_out.weight, inputs, forward)


if __name__ == "__main__":
    main()
