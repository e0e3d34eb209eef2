"""Stable Video Diffusion: EDM preconditioning, the first frame's latents beside the noisy ones; all of it trained, or the temporal layers.

diffusers fixes 32 groups in every normalisation of this network. With 32 channels each group would be one channel, and would take
away the noise level, which is added per channel: so the groups are made 4, and `norm_num_groups` in the configuration says so.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from diffusers import UNetSpatioTemporalConditionModel

SEED = 104
BATCH, FRAMES, CONTEXT, GROUPS = 2, 3, 6, 4


def build():
    with groups(GROUPS):
        unet = UNetSpatioTemporalConditionModel(
            sample_size=8,
            in_channels=8,
            out_channels=4,
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
            block_out_channels=(8, 12),
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=12,
            layers_per_block=1,
            cross_attention_dim=CONTEXT,
            num_attention_heads=(2, 3),
            num_frames=FRAMES,
        )
    unet.register_to_config(norm_num_groups=GROUPS)
    return randomise(unet, SEED, {"conv_out.weight": 0.7})


def inputs():
    shape = (STEPS, BATCH, FRAMES, 4, 6, 8)
    ids = [uniform(SEED, "rate", (STEPS, BATCH), 2, 30).round(), uniform(SEED, "motion", (STEPS, BATCH), 1, 255).round()]
    ids.append(uniform(SEED, "augmentation", (STEPS, BATCH), 0, 0.5))
    return {
        "x0": normal(SEED, "x0", shape),
        "noise": normal(SEED, "noise", shape),
        "sigmas": torch.exp(0.7 + 1.6 * normal(SEED, "sigmas", (STEPS, BATCH)).double()),
        "image_latents": normal(SEED, "image latents", (STEPS, BATCH, 4, 6, 8)),
        "image_embeds": normal(SEED, "image embeds", (STEPS, BATCH, 1, CONTEXT)),
        "added_time_ids": torch.stack(ids, -1),
    }


def loss_of(unet):
    def loss(batch, dtype, _step):
        clean = batch["x0"].double()
        sigma = batch["sigmas"].reshape(-1, 1, 1, 1, 1)
        square = sigma**2
        x = clean + sigma * batch["noise"].double()
        c_skip, c_out, c_in = 1 / (square + 1), -sigma / (square + 1).sqrt(), 1 / (square + 1).sqrt()
        image = batch["image_latents"].double()[:, None].expand(-1, FRAMES, -1, -1, -1)
        sample = torch.cat([c_in * x, image], 2).to(dtype)
        out = unet(sample, 0.25 * batch["sigmas"].log(), batch["image_embeds"].to(dtype), batch["added_time_ids"].to(dtype)).sample
        estimate = (c_skip * x).to(dtype) + c_out.to(dtype) * out
        return (((1 + square) / square).to(dtype) * (estimate - clean.to(dtype)) ** 2).mean()

    return loss


def main():
    unet = build()
    case = Case(__file__, "svd", SEED, trained=["unet", "temporal"], prediction="edm")
    case.component("unet", unet)
    case.index("StableVideoDiffusionPipeline", SVD_SCHEDULER, unet=["diffusers", "UNetSpatioTemporalConditionModel"])
    case.train(unet, unet.named_parameters(), inputs(), loss_of(unet))


if __name__ == "__main__":
    main()
