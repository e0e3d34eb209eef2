"""Writes the tensor names and shapes of tiny reference models, one `name d0,d1,...` per line.

Run with diffusers 0.42.1 and transformers 5.23.0 installed: `python export.py`.
The diffusers and transformers lists come from the models themselves. The single-file (LDM) lists
are enumerated here the way the original U-Net and autoencoder number their blocks, and are
checked by converting them with diffusers' own single-file conversion, which must give exactly
the diffusers list.
"""

import json
import pathlib

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    UNet2DConditionModel,
    UNetSpatioTemporalConditionModel,
    VQModel,
)
from diffusers.loaders import single_file_utils as single_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

HERE = pathlib.Path(__file__).parent


def write(name, shapes):
    lines = [f"{key} {','.join(map(str, shape))}" for key, shape in sorted(shapes.items())]
    (HERE / f"{name}.txt").write_text("\n".join(lines) + "\n")
    print(name, len(lines))


def shapes_of(model):
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def fake(shapes):
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


# ---------------------------------------------------------------- diffusers and transformers


def unet(**changes):
    config = dict(
        block_out_channels=(32, 64, 64, 64),
        cross_attention_dim=24,
        attention_head_dim=8,
        layers_per_block=2,
    )
    config.update(changes)
    return UNet2DConditionModel(**config)


MODELS = {
    "sd1_unet": unet(),
    "sd2_unet": unet(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
    ),
    "x4_unet": unet(
        in_channels=7,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        only_cross_attention=(True, True, False),
        num_class_embeds=10,
        use_linear_projection=True,
    ),
    "svd_unet": UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64, 64, 64),
        num_attention_heads=(2, 4, 4, 4),
        cross_attention_dim=24,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        layers_per_block=2,
    ),
    "vae": AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=2,
    ),
    "vae_temporal": AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2, layers_per_block=2
    ),
    "vq": VQModel(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        num_vq_embeddings=16,
    ),
}
CLIP = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, projection_dim=24)
TEXT = CLIPTextModel(CLIPTextConfig(vocab_size=50, max_position_embeddings=77, **CLIP))
VISION = CLIPVisionModelWithProjection(CLIPVisionConfig(image_size=28, patch_size=14, **CLIP))


# ---------------------------------------------------------------- single-file numbering

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def under(shapes, prefix):
    return {key[len(prefix) :]: shape for key, shape in shapes.items() if key.startswith(prefix)}


def ldm_resnet(shapes, prefix):
    """A U-Net residual block; with `time_stack` and `time_mixer` when it is a video block."""
    out = {}
    for key, shape in under(shapes, prefix).items():
        if key.startswith("time_mixer."):
            out[key] = shape
            continue
        stack = ""
        if key.startswith("spatial_res_block."):
            key = key.removeprefix("spatial_res_block.")
        elif key.startswith("temporal_res_block."):
            key, stack = key.removeprefix("temporal_res_block."), "time_stack."
        layer, leaf = key.split(".")
        out[f"{stack}{RESNET[layer]}.{leaf}"] = shape
    return out


def ldm_transformer(shapes, prefix):
    out = {}
    for key, shape in under(shapes, prefix).items():
        key = key.replace("temporal_transformer_blocks.0.", "time_stack.0.")
        key = key.replace("time_pos_embed.linear_1", "time_pos_embed.0")
        key = key.replace("time_pos_embed.linear_2", "time_pos_embed.2")
        out[key] = shape
    return out


def ldm_unet(shapes, levels, resnets):
    """Enumerates `input_blocks`, `middle_block` and `output_blocks` in the order they are built."""
    out = {}

    def put(block, inner):
        out.update({f"{block}.{key}": shape for key, shape in inner.items()})

    def has(prefix):
        return any(key.startswith(prefix) for key in shapes)

    put("input_blocks.0.0", under(shapes, "conv_in."))
    number = 1
    for level in range(levels):
        for layer in range(resnets):
            put(f"input_blocks.{number}.0", ldm_resnet(shapes, f"down_blocks.{level}.resnets.{layer}."))
            put(f"input_blocks.{number}.1", ldm_transformer(shapes, f"down_blocks.{level}.attentions.{layer}."))
            number += 1
        if level < levels - 1:
            put(f"input_blocks.{number}.0.op", under(shapes, f"down_blocks.{level}.downsamplers.0.conv."))
            number += 1
    put("middle_block.0", ldm_resnet(shapes, "mid_block.resnets.0."))
    put("middle_block.1", ldm_transformer(shapes, "mid_block.attentions.0."))
    put("middle_block.2", ldm_resnet(shapes, "mid_block.resnets.1."))
    number = 0
    for level in range(levels):
        for layer in range(resnets + 1):
            inner = 1
            put(f"output_blocks.{number}.0", ldm_resnet(shapes, f"up_blocks.{level}.resnets.{layer}."))
            if has(f"up_blocks.{level}.attentions.{layer}."):
                put(f"output_blocks.{number}.1", ldm_transformer(shapes, f"up_blocks.{level}.attentions.{layer}."))
                inner = 2
            if layer == resnets and level < levels - 1:
                put(f"output_blocks.{number}.{inner}.conv", under(shapes, f"up_blocks.{level}.upsamplers.0.conv."))
            number += 1
    for ours, theirs in {
        "time_embedding.linear_1.": "time_embed.0",
        "time_embedding.linear_2.": "time_embed.2",
        "add_embedding.linear_1.": "label_emb.0.0",
        "add_embedding.linear_2.": "label_emb.0.2",
        "class_embedding.": "label_emb",
        "conv_norm_out.": "out.0",
        "conv_out.": "out.2",
    }.items():
        put(theirs, under(shapes, ours))
    assert len(out) == len(shapes), set(shapes.values())
    return {f"model.diffusion_model.{key}": shape for key, shape in out.items()}


ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def ldm_vae(shapes, levels, resnets, decoder_prefix="first_stage_model.", encoder_prefix="first_stage_model."):
    out = {}

    def put(block, inner):
        prefix = decoder_prefix if block.startswith(("decoder", "post_quant_conv")) else encoder_prefix
        out.update({f"{prefix}{block}.{key}": shape for key, shape in inner.items()})

    def resnet(prefix):
        inner = {}
        for key, shape in under(shapes, prefix).items():
            if key.startswith("time_mixer."):
                key = key.removeprefix("time_mixer.")
            elif key.startswith("temporal_res_block."):
                layer, leaf = key.removeprefix("temporal_res_block.").split(".")
                key = f"time_stack.{RESNET[layer]}.{leaf}"
            key = key.removeprefix("spatial_res_block.").replace("conv_shortcut", "nin_shortcut")
            inner[key] = shape
        return inner

    def attention(prefix):
        inner = {}
        for key, shape in under(shapes, prefix).items():
            layer, leaf = key.rsplit(".", 1)
            linear = layer != "group_norm" and leaf == "weight"
            inner[f"{ATTENTION[layer]}.{leaf}"] = (*shape, 1, 1) if linear else shape
        return inner

    for part in ("encoder", "decoder"):
        put(f"{part}.conv_in", under(shapes, f"{part}.conv_in."))
        put(f"{part}.norm_out", under(shapes, f"{part}.conv_norm_out."))
        put(f"{part}.conv_out", under(shapes, f"{part}.conv_out."))
        put(f"{part}.mid.attn_1", attention(f"{part}.mid_block.attentions.0."))
        for index in range(2):
            put(f"{part}.mid.block_{index + 1}", resnet(f"{part}.mid_block.resnets.{index}."))
    for level in range(levels):
        for layer in range(resnets):
            put(f"encoder.down.{level}.block.{layer}", resnet(f"encoder.down_blocks.{level}.resnets.{layer}."))
        put(f"encoder.down.{level}.downsample.conv", under(shapes, f"encoder.down_blocks.{level}.downsamplers.0.conv."))
        mirrored = levels - 1 - level
        for layer in range(resnets + 1):
            put(f"decoder.up.{mirrored}.block.{layer}", resnet(f"decoder.up_blocks.{level}.resnets.{layer}."))
        put(f"decoder.up.{mirrored}.upsample.conv", under(shapes, f"decoder.up_blocks.{level}.upsamplers.0.conv."))
    put("decoder.conv_out.time_mix_conv", under(shapes, "decoder.time_conv_out."))
    put("quant_conv", under(shapes, "quant_conv."))
    put("post_quant_conv", under(shapes, "post_quant_conv."))
    assert len(out) == len(shapes)
    return out


def open_clip(layers, width, hidden, prefix):
    out = {}
    for layer in range(layers):
        block = f"{prefix}transformer.resblocks.{layer}."
        for norm in ("ln_1", "ln_2"):
            out[f"{block}{norm}.weight"] = out[f"{block}{norm}.bias"] = (width,)
        out[f"{block}attn.in_proj_weight"] = (3 * width, width)
        out[f"{block}attn.in_proj_bias"] = (3 * width,)
        out[f"{block}attn.out_proj.weight"] = (width, width)
        out[f"{block}attn.out_proj.bias"] = (width,)
        out[f"{block}mlp.c_fc.weight"] = (hidden, width)
        out[f"{block}mlp.c_fc.bias"] = (hidden,)
        out[f"{block}mlp.c_proj.weight"] = (width, hidden)
        out[f"{block}mlp.c_proj.bias"] = (width,)
    return out


def open_clip_text(layers, width, hidden, vocabulary):
    prefix = "cond_stage_model.model."
    out = open_clip(layers, width, hidden, prefix)
    out[f"{prefix}token_embedding.weight"] = (vocabulary, width)
    out[f"{prefix}positional_embedding"] = (77, width)
    out[f"{prefix}ln_final.weight"] = out[f"{prefix}ln_final.bias"] = (width,)
    out[f"{prefix}text_projection"] = (width, width)
    out[f"{prefix}logit_scale"] = ()
    return out


def open_clip_vision(layers, width, hidden, tokens, projection):
    prefix = "conditioner.embedders.0.open_clip.model.visual."
    out = open_clip(layers, width, hidden, prefix)
    out[f"{prefix}class_embedding"] = (width,)
    out[f"{prefix}positional_embedding"] = (tokens, width)
    out[f"{prefix}conv1.weight"] = (width, 3, 14, 14)
    for norm in ("ln_pre", "ln_post"):
        out[f"{prefix}{norm}.weight"] = out[f"{prefix}{norm}.bias"] = (width,)
    out[f"{prefix}proj"] = (width, projection)
    return out


def check_conversion(ldm, diffusers_shapes, convert, config):
    converted = convert(fake(ldm), config=config)
    found = {key: tuple(value.shape) for key, value in converted.items()}
    wanted = dict(diffusers_shapes)
    assert set(found) == set(wanted), sorted(set(found) ^ set(wanted))[:10]
    for key, shape in wanted.items():
        assert found[key] == shape, (key, found[key], shape)


def main():
    shapes = {name: shapes_of(model) for name, model in MODELS.items()}
    for name, model_shapes in shapes.items():
        write(f"diffusers_{name}", model_shapes)
    text, vision = shapes_of(TEXT), shapes_of(VISION)
    write("transformers_text", text)
    write("transformers_vision", vision)
    for name, model in (("text", TEXT), ("vision", VISION)):
        folder = HERE / "saved.partial"
        model.save_pretrained(folder)
        from safetensors import safe_open

        with safe_open(folder / "model.safetensors", "pt") as file:
            saved = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}
        write(f"transformers_{name}_saved", saved)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()

    levels = {"sd1_unet": 4, "sd2_unet": 2, "x4_unet": 3, "svd_unet": 4}
    for name, count in levels.items():
        ldm = ldm_unet(shapes[name], count, 2)
        if name != "svd_unet":
            config = dict(MODELS[name].config)
            stripped = {key: value for key, value in ldm.items()}
            check_conversion(stripped, shapes[name], single_file.convert_ldm_unet_checkpoint, config)
        write(f"ldm_{name}", ldm)
    ldm = ldm_vae(shapes["vae"], 2, 2)
    check_conversion(ldm, shapes["vae"], single_file.convert_ldm_vae_checkpoint, dict(MODELS["vae"].config))
    write("ldm_vae", ldm)
    write(
        "ldm_vae_temporal",
        ldm_vae(shapes["vae_temporal"], 2, 2, encoder_prefix="conditioner.embedders.3.encoder."),
    )
    write("ldm_open_clip_text", open_clip_text(3, 32, 64, 50))
    write("ldm_open_clip_vision", open_clip_vision(2, 32, 64, 5, 24))


if __name__ == "__main__":
    main()
