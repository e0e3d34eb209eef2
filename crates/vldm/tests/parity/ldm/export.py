"""How the single-file checkpoints of the original repositories name what diffusers names otherwise, at full size.

One table per family: `NAME <tab> SHAPE <tab> COMPONENT <tab> DIFFUSERS NAME <tab> HOW`, where HOW is `same`, `conv1x1` (theirs is
`[out, in, 1, 1]`, diffusers' `[out, in]`), `transpose`, or `rows:FROM:TO` (diffusers' tensor is these rows of theirs). Component `-`
means that the tensor is in the file and in no component.

The tables are checked on the small models of `sd15`, `sd21` and `x4`: written out by the table and read back by diffusers' own
converter, every tensor must return.
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE.parent / "full_size"))
from common import *  # noqa: E402,F403
import importlib.util as util  # noqa: E402

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2", "class_embedding": "label_emb",
    "conv_norm_out": "out.0", "conv_out": "out.2",
}
BUFFERS = [
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1",
    "posterior_mean_coef2",
]


def load_module(folder):
    spec = util.spec_from_file_location(folder, HERE.parent / folder / "export.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unet_name(name, layers, attention_at_up):
    """The original name of a U-Net parameter. `layers` are the residual blocks per level."""
    owner, _, leaf = name.rpartition(".")
    if owner in UNET_ENDS:
        return f"{UNET_ENDS[owner]}.{leaf}"
    kind, rest = name.split(".", 1)
    if kind == "mid_block":
        part, index, tail = rest.split(".", 2)
        place = f"middle_block.{2 * int(index) if part == 'resnets' else 1}"
    else:
        block, part, index, tail = rest.split(".", 3)
        block, index = int(block), int(index)
        if part == "downsamplers":
            return f"input_blocks.{(block + 1) * (layers + 1)}.0.op.{leaf}"
        if part == "upsamplers":
            return f"output_blocks.{block * (layers + 1) + layers}.{2 if attention_at_up(block) else 1}.conv.{leaf}"
        number = block * (layers + 1) + index + (kind == "down_blocks")
        place = f"{'input' if kind == 'down_blocks' else 'output'}_blocks.{number}.{0 if part == 'resnets' else 1}"
    if part == "resnets":
        tail = tail.replace("spatial_res_block.", "").replace("temporal_res_block.", "time_stack.")
        head, _, last = tail.rpartition(".")
        stack = "time_stack." if head.startswith("time_stack.") else ""
        head = head.removeprefix("time_stack.")
        return f"{place}.{stack}{RESNET.get(head, head)}.{last}" if head != "time_mixer" else f"{place}.{tail}"
    tail = tail.replace("temporal_transformer_blocks", "time_stack")
    return f"{place}.{tail.replace('time_pos_embed.linear_1', 'time_pos_embed.0').replace('time_pos_embed.linear_2', 'time_pos_embed.2')}"


def vae_name(name, levels):
    """The original name of an autoencoder's parameter, and whether a matrix is stored as a 1×1 convolution."""
    if name.startswith("decoder.time_conv_out."):
        return name.replace("time_conv_out", "conv_out.time_mix_conv"), "same"
    result = re.sub(r"decoder\.up_blocks\.(\d+)", lambda found: f"decoder.up.{levels - 1 - int(found[1])}", name)
    result = result.replace("encoder.down_blocks.", "encoder.down.").replace(".resnets.", ".block.")
    result = result.replace(".downsamplers.0.", ".downsample.").replace(".upsamplers.0.", ".upsample.").replace("conv_norm_out", "norm_out")
    result = re.sub(r"mid_block\.block\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", result)
    if "temporal_res_block." in result:
        head, tail = result.split("temporal_res_block.")
        part, _, leaf = tail.rpartition(".")
        result = f"{head}time_stack.{RESNET[part]}.{leaf}"
    result = result.replace("spatial_res_block.", "").replace("time_mixer.", "").replace("conv_shortcut", "nin_shortcut")
    if "mid_block.attentions.0" not in result:
        return result, "same"
    result = result.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm").replace("to_out.0", "proj_out")
    result = re.sub(r"\.to_([qkv])\.", r".\1.", result)
    return result, "conv1x1" if name.endswith("weight") and "group_norm" not in name else "same"


OPEN_CLIP = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj"}


def open_clip_block(tail, width):
    """The original name inside a block, and how: queries, keys and values are rows of one matrix there."""
    part, _, leaf = tail.rpartition(".")
    for index, which in enumerate(("q_proj", "k_proj", "v_proj")):
        if part == f"self_attn.{which}":
            return f"attn.in_proj_{leaf}", f"rows:{index * width}:{(index + 1) * width}"
    return f"{OPEN_CLIP[part]}.{leaf}", "same"


def open_clip_text_name(name, width):
    ends = {
        "embeddings.position_embedding.weight": "positional_embedding", "embeddings.token_embedding.weight": "token_embedding.weight",
        "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias",
    }
    if name in ends:
        return ends[name], "same"
    _, _, layer, tail = name.split(".", 3)
    theirs, how = open_clip_block(tail, width)
    return f"transformer.resblocks.{layer}.{theirs}", how


def open_clip_image_name(name, width):
    ends = {
        "visual_projection.weight": ("proj", "transpose"),
        "vision_model.embeddings.class_embedding": ("class_embedding", "same"),
        "vision_model.embeddings.patch_embedding.weight": ("conv1.weight", "same"),
        "vision_model.embeddings.position_embedding.weight": ("positional_embedding", "same"),
    }
    if name in ends:
        return ends[name]
    for ours, theirs in (("pre_layrnorm", "ln_pre"), ("post_layernorm", "ln_post")):
        if f".{ours}." in name:
            return f"{theirs}.{name.rpartition('.')[2]}", "same"
    _, _, _, layer, tail = name.split(".", 4)
    theirs, how = open_clip_block(tail, width)
    return f"transformer.resblocks.{layer}.{theirs}", how


def their_shape(shape, how, name):
    if how == "conv1x1":
        return [*shape, 1, 1]
    if how == "transpose":
        return list(reversed(shape))
    if how.startswith("rows"):
        return [3 * shape[0], *shape[1:]]
    return list(shape)


def table(parts, family):
    """Rows of one family: original name, its shape, component, diffusers' name, how."""
    rows = []

    def add(component, prefix, name, theirs, how, shape):
        rows.append((prefix + theirs, their_shape(shape, how, name), component, name, how))

    network = parts["unet"]
    has_attention = lambda block: hasattr(network.up_blocks[block], "attentions")
    for name, value in network.named_parameters():
        add("unet", "model.diffusion_model.", name, unet_name(name, network.config.layers_per_block, has_attention), "same", value.shape)
    levels = len(parts["vae"].config.block_out_channels)
    for name, value in parts["vae"].named_parameters():
        theirs, how = vae_name(name, levels)
        prefix = "first_stage_model."
        if family == "svd" and not name.startswith("decoder."):
            prefix = "conditioner.embedders.3.encoder."
        add("vae", prefix, name, theirs, how, value.shape)
    if family == "sd1":
        for name, value in parts["text_encoder"].named_parameters():
            add("text_encoder", "cond_stage_model.transformer.", f"text_model.{name}", f"text_model.{name}", "same", value.shape)
    elif family in ("sd2", "x4"):
        width = parts["text_encoder"].config.hidden_size
        for name, value in parts["text_encoder"].named_parameters():
            theirs, how = open_clip_text_name(name, width)
            add("text_encoder", "cond_stage_model.model.", f"text_model.{name}", theirs, how, value.shape)
    else:
        width = parts["image_encoder"].config.hidden_size
        for name, value in parts["image_encoder"].named_parameters():
            theirs, how = open_clip_image_name(name, width)
            add("image_encoder", "conditioner.embedders.0.open_clip.model.visual.", name, theirs, how, value.shape)
    return rows


def unused(parts, family, rows):
    """What the original files hold beside the components."""
    extra = []
    if family == "svd":
        first = [(f"first_stage_model.{name.split('embedders.3.encoder.')[1]}", shape) for name, shape, part, ours, _ in rows if part == "vae" and ours.startswith("encoder.")]
        extra += first
        tower = "conditioner.embedders.0.open_clip.model."
        extra += [(tower + "positional_embedding", [77, 1024]), (tower + "text_projection", [1024, 1024]), (tower + "logit_scale", [])]
        extra += [(tower + "token_embedding.weight", [49408, 1024]), (tower + "ln_final.weight", [1024]), (tower + "ln_final.bias", [1024])]
        return extra
    extra += [(name, [1000]) for name in BUFFERS]
    extra += [("model_ema.decay", []), ("model_ema.num_updates", []), ("model_ema.diffusion_modelinput_blocks00weight", [320, 4, 3, 3])]
    if family == "sd1":
        return extra + [("cond_stage_model.transformer.text_model.embeddings.position_ids", [1, 77])]
    if family == "x4":
        extra += [(f"low_res_model.{name}", [1000]) for name in BUFFERS]
    extra += [("cond_stage_model.model.text_projection", [1024, 1024]), ("cond_stage_model.model.logit_scale", [])]
    last = {(name.replace("resblocks.22.", "resblocks.23."), tuple(shape)) for name, shape, *_ in rows if "model.transformer.resblocks.22." in name}
    return extra + sorted(last)


def write_out(rows, states):
    """An original checkpoint's tensors from those of the components."""
    result, fused = {}, {}
    for theirs, _shape, component, name, how in rows:
        value = states[component][name]
        if how == "conv1x1":
            value = value[..., None, None]
        elif how == "transpose":
            value = value.T
        elif how.startswith("rows"):
            fused.setdefault(theirs, []).append((int(how.split(":")[1]), value))
            continue
        assert theirs not in result, theirs
        result[theirs] = value
    for theirs, pieces in fused.items():
        result[theirs] = torch.cat([value for _, value in sorted(pieces, key=lambda piece: piece[0])])
    return result


def check(folder, family):
    """Writes a small model as an original checkpoint and has diffusers read it back."""
    from diffusers.loaders import single_file_utils as reader

    unet, vae, text = load_module(folder).build()
    parts = {"unet": unet, "vae": vae, "text_encoder": text}
    states = {"unet": unet.state_dict(), "vae": vae.state_dict(), "text_encoder": {f"text_model.{name}": value for name, value in text.state_dict().items()}}
    original = write_out(table(parts, family), states)
    back = {"unet": reader.convert_ldm_unet_checkpoint(original, dict(unet.config)), "vae": reader.convert_ldm_vae_checkpoint(original, dict(vae.config))}
    if family == "sd1":
        back["text_encoder"] = reader.convert_ldm_clip_checkpoint(original)
    else:
        # diffusers takes the width of the fused matrix from a projection that these small towers lack; it is the hidden size.
        back["text_encoder"] = reader.convert_open_clip_checkpoint(text, original)
    for component, state in states.items():
        assert state.keys() == back[component].keys(), (folder, component, state.keys() ^ back[component].keys())
        for name, value in state.items():
            assert torch.equal(value, back[component][name]), (folder, component, name)
    print(f"  {folder}: {len(original)} tensors return through diffusers' converter")


def main():
    full = load_module("full_size").models()
    for model, family in (("sd14", "sd1"), ("sd21", "sd2"), ("x4", "x4"), ("svd", "svd")):
        rows = table(full[model], family)
        names = [row[0] for row in rows if not row[4].startswith("rows")]
        assert len(names) == len(set(names)), "two parameters with one original name"
        extra = [(name, shape, "-", "-", "-") for name, shape in unused(full[model], family, rows)]
        assert not {row[0] for row in rows} & {row[0] for row in extra}
        lines = ["\t".join([name, "x".join(map(str, shape)) or "scalar", component, ours, how]) for name, shape, component, ours, how in rows + extra]
        (HERE / f"{family}.tsv").write_text("\n".join(lines) + "\n")
        print(f"  {family}: {len(rows)} rows, {len(extra)} tensors without a component")
    for folder, family in (("sd15", "sd1"), ("sd21", "sd2"), ("x4", "x4")):
        check(folder, family)


if __name__ == "__main__":
    main()
