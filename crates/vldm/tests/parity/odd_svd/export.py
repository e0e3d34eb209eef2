"""Video networks nobody would choose: two levels, two transformer layers under one mix factor, a one-level decoder whose attention is never used.

Both are faint: every normalisation sees values of about 0.01, so a wrong eps shows (it differs between the block kinds here).
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

SEED = 103


def build():
    unet = UNetSpatioTemporalConditionModel(
        in_channels=9,
        out_channels=4,
        down_block_types=("DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal"),
        up_block_types=("CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"),
        block_out_channels=(32, 32),
        addition_time_embed_dim=6,
        projection_class_embeddings_input_dim=12,
        layers_per_block=(2, 1),
        transformer_layers_per_block=(1, 2),
        cross_attention_dim=10,
        num_attention_heads=(1, 8),
        num_frames=5,
    )
    # With one layer the decoder's middle has an attention in its weights that diffusers never runs.
    vae = AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",),
        block_out_channels=(32,),
        layers_per_block=1,
        latent_channels=3,
        scaling_factor=0.5,
    )
    # 31 pixels are six patches of five; what is left over is ignored.
    vision = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=18, intermediate_size=26, projection_dim=10, num_hidden_layers=3, num_attention_heads=3, image_size=31, patch_size=5,
            hidden_act="quick_gelu",
        )
    )
    randomise(unet, SEED, FAINT)
    randomise(vae, SEED + 1, FAINT)
    randomise(vision, SEED + 2)
    return unet, vae, vision


def save(folder, unet, vae, vision):
    fresh(folder)
    save_component(unet, folder / "unet", torch.bfloat16, max_shard_size="980KB")
    save_component(vae, folder / "vae", torch.bfloat16)
    save_component(vision, folder / "image_encoder")
    write_json(folder / "scheduler" / "scheduler_config.json", SVD_SCHEDULER)
    write_model_index(
        folder,
        "StableVideoDiffusionPipeline",
        image_encoder=["transformers", "CLIPVisionModelWithProjection"],
        scheduler=["diffusers", "EulerDiscreteScheduler"],
        unet=["diffusers", "UNetSpatioTemporalConditionModel"],
        vae=["diffusers", "AutoencoderKLTemporalDecoder"],
    )


def main():
    unet, vae, vision = build()
    save(HERE / "model", unet, vae, vision)
    write_json(HERE / "norm_eps.json", norm_eps(unet=unet, vae=vae, image_encoder=vision))
    reference = Reference(SEED, __file__)
    ids = torch.tensor([[2.0, 0.25], [9.0, 100.0]])
    unet_case(
        reference, "7x5", unet, normal(SEED, "a", (2, 5, 9, 7, 5)), torch.tensor([0.9]), normal(SEED, "b", (2, 2, 10)), added_time_ids=ids
    )
    unet_case(
        reference, "one_frame", unet, normal(SEED, "c", (1, 1, 9, 4, 9)), torch.tensor([-1.2]), normal(SEED, "d", (1, 1, 10)), added_time_ids=ids[:1]
    )
    vae_cases(reference, "two_clips", vae, uniform(SEED, "e", (2, 3, 9, 7), -1, 1), normal(SEED, "f", (4, 3, 9, 7)), num_frames=2)
    vae_cases(reference, "three_frames", vae, None, normal(SEED, "g", (3, 3, 5, 8)), num_frames=3)
    image_case(reference, "three", vision, normal(SEED, "h", (3, 3, 31, 31)))
    reference.write(HERE / "reference.safetensors")


if __name__ == "__main__":
    main()
