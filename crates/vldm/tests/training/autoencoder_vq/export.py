"""The first step of a quantised autoencoder: L1, the codebook's loss (0.25 on the encoder's side) and a discriminator."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403
import adversary

from diffusers import VQModel

SEED = 108
BATCH, HEIGHT, WIDTH, CODES, JUDGE = 2, 24, 32, 16, 4


def main():
    vae = VQModel(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
        num_vq_embeddings=CODES,
        vq_embed_dim=4,
    )
    discriminator = randomise(adversary.of_pictures(JUDGE), SEED + 1, {"convs.4.": 4})
    randomise(vae, SEED)
    case = Case(
        __file__, "autoencoder", SEED, trained=["vae", "discriminator"], discriminator_channels=JUDGE, commitment_weight=0.25
    )
    case.component("vae", vae)
    case.file("discriminator", dict(discriminator.named_parameters()))
    case.index("StableDiffusionPipeline", vae=["diffusers", "VQModel"])
    inputs = {"pixels": uniform(SEED, "pixels", (1, BATCH, 1, 3, HEIGHT, WIDTH), -1, 1)}
    chosen = []

    def forward(batch, dtype):
        pixels, table = batch["pixels"][:, 0].to(dtype), vae.quantize.embedding.weight
        z = vae.encode(pixels).latents
        distances = ((z.permute(0, 2, 3, 1)[..., None, :] - table) ** 2).sum(-1)
        nearest = distances.argmin(-1)
        codes = table[nearest].permute(0, 3, 1, 2)
        codebook = ((z.detach() - codes) ** 2).mean() + 0.25 * ((z - codes.detach()) ** 2).mean()
        made = vae.decode(z + (codes - z).detach(), force_not_quantize=True).sample
        two = distances.topk(2, largest=False).values
        chosen.append(nearest)
        print(f"  codes in use {nearest.unique().numel()} of {CODES}, smallest lead of the nearest {(two[..., 1] - two[..., 0]).min():.1e}")
        return pixels, made, {"codebook": (1.0, codebook)}

    root = torch.nn.ModuleDict({"vae": vae, "discriminator": discriminator})
    adversary.first_step(case, root, dict(vae.named_parameters()), discriminator, vae.decoder.conv_out.weight, inputs, forward)
    assert torch.equal(*chosen), "f32 and f64 choose different codes"


if __name__ == "__main__":
    main()
