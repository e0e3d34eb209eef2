"""Builds one network with random weights in PyTorch and times it on request.

Reads one JSON object a line from standard input and answers each with one on standard output:
{"command": "build", ...} once, then {"command": "time", "runs": N} as often as wanted. Run by
run.py, which explains the rest; nothing is imported there that is not in Python itself.
"""

import json
import statistics
import sys
import time

import diffusers
import torch
import transformers

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
TEMPORAL = ("temporal_res_block", "temporal_transformer_blocks", "time_mixer", "time_pos_embed")
SMALL = (96, 192, 384)


class Work:
    """A network and what it is asked: `model(*arguments, **options)`."""

    def __init__(self, model, arguments, options=None):
        self.model = model
        self.arguments = arguments
        self.options = options or {}


class Decoder(torch.nn.Module):
    """The half of an autoencoder that is measured, so that it can be compiled and counted."""

    def __init__(self, autoencoder, frames):
        super().__init__()
        self.decoder = autoencoder.decoder
        self.post_quant_conv = getattr(autoencoder, "post_quant_conv", None)
        self.frames = frames

    def forward(self, latents):
        if self.post_quant_conv is not None:
            latents = self.post_quant_conv(latents)
        if self.frames is None:
            return self.decoder(latents)
        still = torch.zeros(1, self.frames, dtype=latents.dtype)
        return self.decoder(latents, num_frames=self.frames, image_only_indicator=still)


def sd_unet(size):
    model = diffusers.UNet2DConditionModel(cross_attention_dim=768)
    sample = torch.randn(size["batch"], 4, size["height"] // 8, size["width"] // 8)
    context = torch.randn(size["batch"], 77, 768)
    return Work(model, [sample, torch.tensor(500)], {"encoder_hidden_states": context})


def svd_unet(size):
    model = diffusers.UNetSpatioTemporalConditionModel(num_attention_heads=(5, 10, 20, 20))
    sample = torch.randn(1, size["frames"], 8, size["height"] // 8, size["width"] // 8)
    options = {"encoder_hidden_states": torch.randn(1, 1, 1024), "added_time_ids": torch.ones(1, 3)}
    return Work(model, [sample, torch.tensor(500)], options)


def vae_sizes(kind):
    return {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "layers_per_block": 2,
        **({"up_block_types": ["UpDecoderBlock2D"] * 4} if kind == "image" else {}),
    }


def vae_decode(size):
    model = diffusers.AutoencoderKL(**vae_sizes("image"))
    latents = torch.randn(size["batch"], 4, size["height"] // 8, size["width"] // 8)
    return Work(Decoder(model, None), [latents])


def vae_decode_video(size):
    model = diffusers.AutoencoderKLTemporalDecoder(**vae_sizes("video"))
    latents = torch.randn(size["frames"], 4, size["height"] // 8, size["width"] // 8)
    return Work(Decoder(model, size["frames"]), [latents])


def text(size):
    config = transformers.CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    model = transformers.CLIPTextModel(config)
    return Work(model, [torch.ones(size["batch"], 77, dtype=torch.long)])


def train_image(size):
    model = diffusers.UNet2DConditionModel(
        block_out_channels=SMALL,
        cross_attention_dim=256,
        down_block_types=["CrossAttnDownBlock2D"] * 2 + ["DownBlock2D"],
        up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 2,
    )
    sample = torch.randn(size["batch"], 4, size["height"] // 8, size["width"] // 8)
    context = torch.randn(size["batch"], 77, 256)
    return Work(model, [sample, torch.tensor(500)], {"encoder_hidden_states": context})


def train_video(size):
    """SVD's network in the shape of the image network; the frame-rate embedding is frozen."""
    model = diffusers.UNetSpatioTemporalConditionModel(
        in_channels=4,
        block_out_channels=SMALL,
        cross_attention_dim=256,
        num_attention_heads=(8, 8, 8),
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=96,
        down_block_types=["CrossAttnDownBlockSpatioTemporal"] * 2 + ["DownBlockSpatioTemporal"],
        up_block_types=["UpBlockSpatioTemporal"] + ["CrossAttnUpBlockSpatioTemporal"] * 2,
    )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(part in name for part in TEMPORAL))
    sample = torch.randn(1, size["frames"], 4, size["height"] // 8, size["width"] // 8)
    options = {"encoder_hidden_states": torch.randn(1, 77, 256), "added_time_ids": torch.ones(1, 3)}
    return Work(model, [sample, torch.tensor(500)], options)


NETWORKS = {
    "unet": sd_unet,
    "unet-video": svd_unet,
    "vae-decode": vae_decode,
    "vae-decode-video": vae_decode_video,
    "text": text,
    "train": train_image,
    "train-video": train_video,
}


def inference(work, variant):
    """A function that runs the network once."""
    model = work.model.eval().requires_grad_(False)
    if "channels-last" in variant:
        model = model.to(memory_format=torch.channels_last)
        work.arguments = [last(argument) for argument in work.arguments]
    if "compile" in variant:
        from torch._inductor import config

        config.freezing = True
        model = torch.compile(model)

    def run():
        with torch.no_grad():
            model(*work.arguments, **work.options)

    return run


def training(work, variant, dtype):
    """A function that takes one step: forward, backward, AdamW."""
    model = work.model.train()
    if "channels-last" in variant:
        model = model.to(memory_format=torch.channels_last)
        work.arguments = [last(argument) for argument in work.arguments]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-4, weight_decay=0.01, fused=True)
    forward = torch.compile(model) if "compile" in variant else model
    target = torch.randn(work.arguments[0].shape)

    def run():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            prediction = forward(*work.arguments, **work.options).sample
        torch.nn.functional.mse_loss(prediction.float(), target).backward()
        optimizer.step()

    return run


def last(tensor):
    if tensor.dim() != 4:
        return tensor
    return tensor.contiguous(memory_format=torch.channels_last)


def build(request):
    torch.set_num_threads(request["threads"])
    torch.manual_seed(0)
    dtype = DTYPES[request["dtype"]]
    trains = request["network"].startswith("train")
    # Weights are made in their type; those that learn are f32, as are their moments.
    torch.set_default_dtype(torch.float32 if trains else dtype)
    work = NETWORKS[request["network"]](request)
    torch.set_default_dtype(torch.float32)
    parameters = list(work.model.parameters())
    trained = [p for p in parameters if p.requires_grad] if trains else []
    variant = request["variant"]
    run = training(work, variant, dtype) if trains else inference(work, variant)
    run()
    counts = {"parameters": total(parameters), "trained_parameters": total(trained)}
    return run, counts


def total(parameters):
    return sum(parameter.numel() for parameter in parameters)


def timed(run, runs):
    run()
    seconds = []
    for _ in range(runs):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return {"median_seconds": statistics.median(seconds), "peak_memory_bytes": peak_memory()}


def peak_memory():
    try:
        with open("/proc/self/status") as status:
            lines = [line for line in status if line.startswith("VmHWM:")]
        return int(lines[0].split()[1]) * 1024
    except (OSError, IndexError):
        return None


def main():
    answers = sys.stdout
    # Whatever libraries print is no answer.
    sys.stdout = sys.stderr
    run = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["command"] == "build":
                run, answer = build(request)
                answer["versions"] = {m.__name__: m.__version__ for m in (torch, diffusers)}
            else:
                answer = timed(run, request["runs"])
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
