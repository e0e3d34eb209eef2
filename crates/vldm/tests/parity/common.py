"""What every exporter of this folder shares: deterministic weights, the tokenizer, and the two file kinds.

Run an exporter as `python export.py` from its own folder, with the packages of `README.md`.
"""

import gzip
import hashlib
import importlib.metadata
import json
import math
import os
import random
import shutil
import sys
import zlib
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import torch
import diffusers
import transformers
from safetensors.torch import save_file

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.set_grad_enabled(False)
diffusers.utils.logging.set_verbosity_error()
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

FORMAT_VERSION = "1"
NORMS = (torch.nn.GroupNorm, torch.nn.LayerNorm)


# --- numbers -------------------------------------------------------------------------------------


def generator(seed, name):
    """A stream of random numbers that depends on the seed and the name only."""
    return torch.Generator("cpu").manual_seed((seed * 1_000_003 + zlib.crc32(name.encode())) % (1 << 62))


def normal(seed, name, shape, scale=1.0):
    return torch.randn(shape, generator=generator(seed, name), dtype=torch.float32) * scale


def uniform(seed, name, shape, low, high):
    return torch.rand(shape, generator=generator(seed, name), dtype=torch.float32) * (high - low) + low


# Parts of the names of what a video model adds to an image model.
TEMPORAL = ("temporal_res_block", "time_mixer", "temporal_transformer_blocks", "time_pos_embed", "time_conv_out")

# Gains under which every normalisation sees values of about 0.01, so that a wrong eps shows.
FAINT = {
    "conv_in.": 0.01, "conv1.": 0.01, "conv2.": 0.01, "time_emb_proj.": 0.01, "proj_in.": 0.01, "proj_out.bias": 0.01, "to_out.": 0.01,
    "net.2.": 0.01, "conv_shortcut.bias": 0.01, "samplers.0.conv.bias": 0.01, "time_pos_embed.linear_2.": 0.01,
}


def randomise(module, seed, gains=None):
    """Gives every parameter a value that matters: nothing stays zero, one, or a half.

    Matrices and kernels are normal with variance gain²/fan-in, so activations stay of order one;
    norm weights lie in 0.7..1.3, biases in ±0.2, mix factors in ±1. `gains` maps a part of a
    parameter's name to a factor for its values.
    """
    owners = dict(module.named_modules())
    for name, parameter in sorted(module.named_parameters()):
        owner = owners[name.rpartition(".")[0]]
        gain = math.prod(factor for part, factor in (gains or {}).items() if part in name)
        shape = tuple(parameter.shape)
        if name.endswith("mix_factor"):
            value = uniform(seed, name, shape, -1.0, 1.0)
        elif isinstance(owner, NORMS):
            value = uniform(seed, name, shape, 0.7, 1.3) if name.endswith("weight") else uniform(seed, name, shape, -0.2, 0.2)
        elif isinstance(owner, torch.nn.Embedding) or len(shape) == 1 and "embedding" in name and not name.endswith("bias"):
            value = normal(seed, name, shape, 0.7 * gain)
        elif name.endswith("bias"):
            value = uniform(seed, name, shape, -0.2, 0.2) * gain
        else:
            value = normal(seed, name, shape, gain / math.sqrt(math.prod(shape[1:])))
        parameter.data.copy_(value)
    return module.eval()


# --- tensors in the format of `vldm model verify` ------------------------------------------------


def metadata(seed, exporter, **more):
    digest = hashlib.sha256()
    exporter = Path(exporter).resolve()
    for path in (exporter, Path(__file__).resolve()):
        digest.update(path.read_bytes())
    versions = {name: importlib.metadata.version(name) for name in ("torch", "diffusers", "transformers")}
    entries = {"format": "vldm-verify", "format_version": FORMAT_VERSION, "seed": seed, "exporter_sha256": digest.hexdigest()}
    return {key: str(value) for key, value in (entries | versions | more).items()}


def write_tensors(path, tensors, meta):
    stored = {}
    for name, value in tensors.items():
        value = value.detach()
        stored[name] = (value.float() if value.is_floating_point() else value).contiguous().clone()
    path = Path(path)
    save_file(stored, path, metadata=meta)
    normalise_header(path)


def normalise_header(path):
    """safetensors writes its metadata in the order of a hash map: write it sorted instead, so that two runs give the same bytes."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    ordered = {"__metadata__": dict(sorted(header.pop("__metadata__", {}).items()))} | dict(
        sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    )
    text = json.dumps(ordered, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.chmod(0o644)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])


class Reference:
    """Inputs and outputs of components; every output is computed in f64 and, to know the noise floor, in f32 too."""

    def __init__(self, seed, exporter):
        self.seed, self.exporter = seed, exporter
        self.tensors, self.floors, self.stds = {}, {}, {}

    def add(self, case, component, inputs, call):
        """`call(dtype)` returns the outputs by name, computed in that precision from `inputs`."""
        exact, single = call(torch.float64), call(torch.float32)
        for name, value in inputs.items():
            self.tensors[f"{case}/{component}/in/{name}"] = value
        for name, value in exact.items():
            key = f"{case}/{component}/out/{name}"
            assert torch.isfinite(value).all(), key
            self.tensors[key] = value
            self.stds[key] = value.double().std().item()
            self.floors[key] = ((value.double() - single[name].double()).abs().max() / value.double().std()).item()

    def write(self, path):
        worst = max(self.floors.values())
        write_tensors(path, self.tensors, metadata(self.seed, self.exporter, noise_floor=f"{worst:.2e}"))
        for key, floor in self.floors.items():
            print(f"  {key:48} {list(self.tensors[key].shape)!s:22} std {self.stds[key]:7.3f}  f32 against f64 {floor:.1e}")


def unet_case(reference, case, unet, sample, timestep, context, **more):
    """Adds one call of a U-Net; `more` is class_labels or added_time_ids."""

    def call(dtype):
        network = unet.to(dtype)
        extra = {key: value.to(dtype) if value.is_floating_point() else value for key, value in more.items()}
        step = timestep if timestep.is_floating_point() else timestep.long()
        return {"sample": network(sample.to(dtype), step, encoder_hidden_states=context.to(dtype), **extra).sample}

    reference.add(case, "unet", {"sample": sample, "timestep": timestep, "encoder_hidden_states": context, **more}, call)


def vae_cases(reference, case, vae, pixels, latents, num_frames=None):
    def encode(dtype):
        posterior = vae.to(dtype).encode(pixels.to(dtype)).latent_dist
        return {"mean": posterior.mean, "logvar": posterior.logvar}

    def decode(dtype):
        more = {} if num_frames is None else {"num_frames": num_frames}
        return {"sample": vae.to(dtype).decode(latents.to(dtype), **more).sample}

    frames = {} if num_frames is None else {"num_frames": torch.tensor([num_frames])}
    if pixels is not None:
        reference.add(case, "vae.encode", {"sample": pixels}, encode)
    if latents is not None:
        reference.add(case, "vae.decode", {"latents": latents, **frames}, decode)


def text_case(reference, case, encoder, input_ids):
    reference.add(case, "text_encoder", {"input_ids": input_ids}, lambda dtype: {"last_hidden_state": encoder.to(dtype)(input_ids).last_hidden_state})


def image_case(reference, case, encoder, pixels):
    reference.add(case, "image_encoder", {"pixel_values": pixels}, lambda dtype: {"image_embeds": encoder.to(dtype)(pixels.to(dtype)).image_embeds})


# --- model folders -------------------------------------------------------------------------------


def fresh(folder):
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write_json(path, value):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def save_component(component, folder, dtype=torch.float16, **options):
    """Saves a component in a storage precision and leaves it rounded to it, so references are of the stored weights."""
    component.to(dtype)
    component.save_pretrained(folder, safe_serialization=True, **options)
    for path in Path(folder).glob("*.safetensors"):
        normalise_header(path)
    return component


def with_old_text_names(folder, encoder):
    """transformers 5 drops the `text_model.` prefix that every published checkpoint has, and its int64 position table: bring both back."""
    from safetensors.torch import load_file

    path = Path(folder) / "model.safetensors"
    tensors = {f"text_model.{name}": value for name, value in load_file(path).items()}
    tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(tensors, path, metadata={"format": "pt"})
    normalise_header(path)
    again = type(encoder).from_pretrained(folder).to(torch.float32).state_dict()
    assert all(torch.equal(again[name], value.float()) for name, value in encoder.state_dict().items())


def with_old_attention_names(folder, vae):
    """Published autoencoders name their one attention as diffusers did before 0.15: bring that back."""
    from safetensors.torch import load_file

    path = Path(folder) / "diffusion_pytorch_model.safetensors"
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = {}
    for name, value in load_file(path).items():
        if "mid_block.attentions.0." in name:
            for new, old in names.items():
                name = name.replace(f".{new}.", f".{old}.")
        tensors[name] = value
    save_file(tensors, path, metadata={"format": "pt"})
    normalise_header(path)
    again = type(vae).from_pretrained(folder, torch_dtype=vae.dtype).state_dict()
    assert all(torch.equal(again[name], value) for name, value in vae.state_dict().items())


SD1_SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}
SD2_SCHEDULER = SD1_SCHEDULER | {"_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", "prediction_type": "v_prediction"}
X4_SCHEDULER = SD2_SCHEDULER | {"beta_start": 0.0001, "beta_end": 0.02}
X4_LOW_RES_SCHEDULER = {
    "_class_name": "DDPMScheduler",
    "_diffusers_version": "0.10.0.dev0",
    "beta_end": 0.02,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.0001,
    "clip_sample": True,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "trained_betas": None,
    "variance_type": "fixed_small",
}
SVD_SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.24.0.dev0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "set_alpha_to_one": False,
    "sigma_max": 700.0,
    "sigma_min": 0.002,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "trained_betas": None,
    "use_karras_sigmas": True,
}


def write_tokenizer_configs(folder, pad_token):
    """The two small files of a real tokenizer folder; its vocabulary is 1.5 MB and the same everywhere, so it is left out."""

    def word(text):
        return {"content": text, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}

    start, end = word("<|startoftext|>"), word("<|endoftext|>")
    write_json(Path(folder) / "special_tokens_map.json", {"bos_token": start, "eos_token": end, "pad_token": pad_token, "unk_token": end})
    typed = {"__type": "AddedToken"}
    write_json(
        Path(folder) / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "bos_token": typed | start,
            "do_lower_case": True,
            "eos_token": typed | end,
            "errors": "replace",
            "model_max_length": 77,
            "pad_token": "<|endoftext|>",
            "tokenizer_class": "CLIPTokenizer",
            "unk_token": typed | end,
        },
    )


def write_model_index(folder, pipeline, **parts):
    write_json(Path(folder) / "model_index.json", {"_class_name": pipeline, "_diffusers_version": importlib.metadata.version("diffusers"), **parts})


def norm_eps(**modules):
    """The eps of every normalisation, by component and by what the module path looks like with its numbers removed."""
    found = {}
    for part, module in modules.items():
        for name, owner in module.named_modules():
            if isinstance(owner, NORMS):
                found.setdefault(part, {})[name] = owner.eps
    return found


# --- words ---------------------------------------------------------------------------------------


def vocabulary():
    """CLIP's vocabulary and merges, from the word list that open_clip carries."""
    spec = importlib.util.find_spec("open_clip")
    lines = gzip.open(Path(spec.submodule_search_locations[0]) / "bpe_simple_vocab_16e6.txt.gz").read().decode("utf-8").split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    kept = list(range(ord("!"), ord("~") + 1)) + list(range(ord("¡"), ord("¬") + 1)) + list(range(ord("®"), ord("ÿ") + 1))
    letters = [chr(code) for code in kept] + [chr(256 + index) for index in range(256 - len(kept))]
    words = letters + [letter + "</w>" for letter in letters] + ["".join(pair) for pair in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return {word: index for index, word in enumerate(words)}, merges


def tokenizer(pad_token="<|endoftext|>"):
    from transformers import CLIPTokenizer

    words, merges = vocabulary()
    assert len(words) == 49408 and words["<|startoftext|>"] == 49406 and words["<|endoftext|>"] == 49407
    assert (words["a</w>"], words["photo</w>"], words["cat</w>"]) == (320, 1125, 2368)
    return CLIPTokenizer(vocab=words, merges=merges, pad_token=pad_token, model_max_length=77)


def tokens(words, prompts):
    return words(prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids


# --- pipelines -----------------------------------------------------------------------------------


def compare(exact, single):
    """The largest difference, absolute and relative to the standard deviation."""
    difference = (exact.double() - single.double()).abs().max().item()
    return {"max_abs": float(f"{difference:.2e}"), "over_std": float(f"{difference / exact.double().std().item():.2e}")}


def write_pipeline(folder, suffix, settings, inputs, outputs, seed, exporter):
    meta = metadata(seed, exporter)
    folder = Path(folder)
    write_tensors(folder / f"pipeline{suffix}_in.safetensors", inputs, meta)
    write_tensors(folder / f"pipeline{suffix}_out.safetensors", outputs, meta)
    files = {"input": f"pipeline{suffix}_in.safetensors", "output": f"pipeline{suffix}_out.safetensors"}
    write_json(folder / f"pipeline{suffix}.json", {"format_version": 1, "model": "model", **files, **settings})
    for name, value in outputs.items():
        print(f"  pipeline{suffix} {name:20} {list(value.shape)!s:22} std {value.double().std().item():.3f}")
