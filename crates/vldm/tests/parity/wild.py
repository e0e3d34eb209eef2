"""Checkpoints of random shape, for a machine that has both the reference packages and vldm; none of them is kept in the repository.

    python wild.py OUT [COUNT] [SEED]

writes OUT/<number>-<family>/{model/, reference.safetensors}. Then, for every one of them:

    vldm model verify OUT/<number>-<family>/model OUT/<number>-<family>/reference.safetensors --tolerance 1e-4
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import *  # noqa: E402,F403

from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder, UNet2DConditionModel, UNetSpatioTemporalConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection


def size(draw, levels, least=2):
    """A latent height or width that leaves at least `least` pixels at the lowest level."""
    return draw.randint(least * 2 ** (levels - 1), least * 2 ** (levels - 1) + 7)


def image_unet(draw, context):
    levels, groups = draw.randint(2, 4), draw.choice([1, 2, 3, 4, 5])
    attention = [draw.random() < 0.7 for _ in range(levels)]
    layers = [draw.randint(1, 3) for _ in range(levels)]
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=draw.choice([4, 5, 7, 8, 9]),
        out_channels=draw.choice([3, 4]),
        down_block_types=tuple("CrossAttnDownBlock2D" if here else "DownBlock2D" for here in attention),
        up_block_types=tuple("CrossAttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attention)),
        block_out_channels=tuple(groups * 2 * draw.randint(2, 4) for _ in range(levels)),
        layers_per_block=tuple(layers) if draw.random() < 0.5 else layers[0],
        norm_num_groups=groups,
        cross_attention_dim=context,
        attention_head_dim=tuple(draw.randint(1, 4) for _ in range(levels)) if draw.random() < 0.6 else draw.randint(1, 4),
        transformer_layers_per_block=tuple(draw.randint(1, 2) for _ in range(levels)) if draw.random() < 0.5 else 1,
        only_cross_attention=draw.choice([False, True, tuple(draw.random() < 0.5 for _ in range(levels))]),
        use_linear_projection=draw.random() < 0.5,
        num_class_embeds=draw.choice([None, 11]),
    )
    return unet, levels


def image_vae(draw):
    levels, groups = draw.randint(1, 4), draw.choice([1, 2, 3, 4])
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(groups * draw.randint(2, 5) for _ in range(levels)),
        layers_per_block=draw.randint(1, 3),
        latent_channels=draw.choice([3, 4]),
        norm_num_groups=groups,
        scaling_factor=draw.choice([0.18215, 0.08333, 1.0]),
    )
    return vae, levels


def text_tower(draw, context):
    heads = draw.choice([1, 2, 3])
    layers = draw.randint(1, 4)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=draw.choice([200, 1000]), hidden_size=context, intermediate_size=draw.randint(5, 40), num_hidden_layers=layers,
            num_attention_heads=heads, hidden_act=draw.choice(["gelu", "quick_gelu"]), layer_norm_eps=draw.choice([1e-5, 1e-6]),
        )
    )


def image_family(draw, seed, reference, folder):
    context = 6 * draw.randint(1, 4)
    (unet, levels), (vae, vae_levels), text = image_unet(draw, context), image_vae(draw), text_tower(draw, context)
    for number, part in enumerate((unet, vae, text)):
        randomise(part, seed + number, draw.choice([None, FAINT]) if part is not text else None)
    dtype = draw.choice([torch.float32, torch.float16, torch.bfloat16])
    for part, name in ((unet, "unet"), (vae, "vae"), (text, "text_encoder")):
        save_component(part, folder / name, dtype)
    parts = {"scheduler": "PNDMScheduler", "unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
    index = {name: ["diffusers", kind] for name, kind in parts.items()}
    write_model_index(folder, "StableDiffusionPipeline", **index, text_encoder=["transformers", "CLIPTextModel"])
    write_json(folder / "scheduler" / "scheduler_config.json", SD1_SCHEDULER)
    batch = draw.randint(1, 3)
    more = {"class_labels": torch.tensor([draw.randrange(11) for _ in range(batch)])} if unet.config.num_class_embeds else {}
    sample = normal(seed, "sample", (batch, unet.config.in_channels, size(draw, levels), size(draw, levels)))
    unet_case(reference, "wild", unet, sample, torch.tensor([draw.randrange(1000)]), normal(seed, "context", (batch, draw.randint(1, 9), context)), **more)
    factor, latent = 2 ** (vae_levels - 1), (draw.randint(3, 9), draw.randint(3, 9))
    vae_cases(
        reference, "wild", vae, uniform(seed, "pixels", (batch, 3, latent[0] * factor, latent[1] * factor), -1, 1),
        normal(seed, "latents", (batch, vae.config.latent_channels, *latent)),
    )
    text_case(reference, "wild", text, torch.randint(0, text.config.vocab_size, (batch, 77), generator=generator(seed, "ids")))


def video_family(draw, seed, reference, folder):
    levels = draw.randint(2, 3)
    attention = [draw.random() < 0.7 for _ in range(levels)]
    layers = [draw.randint(1, 2) for _ in range(levels)]
    context, ids = draw.randint(5, 30), draw.randint(1, 4)
    time = 2 * draw.randint(2, 9)
    unet = UNetSpatioTemporalConditionModel(
        sample_size=8,
        in_channels=8,
        down_block_types=tuple("CrossAttnDownBlockSpatioTemporal" if here else "DownBlockSpatioTemporal" for here in attention),
        up_block_types=tuple("CrossAttnUpBlockSpatioTemporal" if here else "UpBlockSpatioTemporal" for here in reversed(attention)),
        block_out_channels=tuple(32 * draw.randint(1, 3) for _ in range(levels)),
        addition_time_embed_dim=time,
        projection_class_embeddings_input_dim=time * ids,
        layers_per_block=tuple(layers) if draw.random() < 0.5 else layers[0],
        cross_attention_dim=context,
        transformer_layers_per_block=draw.randint(1, 2),
        num_attention_heads=tuple(draw.choice([1, 2, 4, 8]) for _ in range(levels)),
        num_frames=4,
    )
    vae_levels = draw.randint(1, 4)
    vae = AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * vae_levels,
        block_out_channels=tuple(32 * draw.randint(1, 2) for _ in range(vae_levels)),
        layers_per_block=draw.randint(1, 3),
    )
    patch = draw.randint(3, 9)
    heads = draw.choice([1, 2, 3])
    vision = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=heads * 2 * draw.randint(2, 6), intermediate_size=draw.randint(5, 40), projection_dim=context, num_hidden_layers=draw.randint(1, 4),
            num_attention_heads=heads, image_size=patch * draw.randint(2, 6) + draw.randint(0, patch - 1), patch_size=patch,
            hidden_act=draw.choice(["gelu", "quick_gelu"]),
        )
    )
    for number, part in enumerate((unet, vae, vision)):
        randomise(part, seed + number, draw.choice([None, FAINT]) if part is not vision else None)
    dtype = draw.choice([torch.float32, torch.float16, torch.bfloat16])
    for part, name in ((unet, "unet"), (vae, "vae"), (vision, "image_encoder")):
        save_component(part, folder / name, dtype)
    parts = {"scheduler": "EulerDiscreteScheduler", "unet": "UNetSpatioTemporalConditionModel", "vae": "AutoencoderKLTemporalDecoder"}
    index = {name: ["diffusers", kind] for name, kind in parts.items()}
    write_model_index(folder, "StableVideoDiffusionPipeline", **index, image_encoder=["transformers", "CLIPVisionModelWithProjection"])
    write_json(folder / "scheduler" / "scheduler_config.json", SVD_SCHEDULER)
    batch, frames = draw.randint(1, 2), draw.randint(1, 5)
    # At the lowest level every group is one channel: three pixels a side keep its statistics well conditioned.
    sample = normal(seed, "sample", (batch, frames, 8, size(draw, levels, 3), size(draw, levels, 3)))
    unet_case(
        reference, "wild", unet, sample, torch.tensor([draw.uniform(-1.6, 1.6)]), normal(seed, "context", (batch, draw.randint(1, 3), context)),
        added_time_ids=uniform(seed, "ids", (batch, ids), 0, 130),
    )
    factor, latent = 2 ** (vae_levels - 1), (draw.randint(3, 8), draw.randint(3, 8))
    vae_cases(
        reference, "wild", vae, uniform(seed, "pixels", (batch, 3, latent[0] * factor, latent[1] * factor), -1, 1),
        normal(seed, "latents", (batch * frames, 4, *latent)), num_frames=frames,
    )
    side = vision.config.image_size
    image_case(reference, "wild", vision, normal(seed, "picture", (batch, 3, side, side)))


def main():
    out, count, seed = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8, int(sys.argv[3]) if len(sys.argv) > 3 else 0
    here = Path(__file__).resolve()
    for number in range(count):
        draw = random.Random(seed * 10_000 + number)
        family = (image_family, video_family)[number % 2]
        folder = fresh(out / f"{number:03}-{family.__name__.removesuffix('_family')}")
        reference = Reference(seed * 10_000 + number * 10, here)
        print(folder.name)
        family(draw, seed * 10_000 + number * 10, reference, folder / "model")
        reference.write(folder / "reference.safetensors")


if __name__ == "__main__":
    main()
