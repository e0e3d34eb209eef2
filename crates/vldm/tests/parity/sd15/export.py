"""Stable Diffusion 1.x in small: convolutional projections, `attention_head_dim` that means heads, quick GELU.

Its autoencoder's attention is stored under the names of published checkpoints (`query`, `key`, `value`, `proj_attn`).
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

SEED = 15


def build():
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=2,
        norm_num_groups=4,
        cross_attention_dim=4,
        attention_head_dim=2,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=0.18215,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=4,
            intermediate_size=16,
            num_hidden_layers=3,
            num_attention_heads=2,
            max_position_embeddings=77,
            hidden_act="quick_gelu",
            projection_dim=4,
            bos_token_id=0,
            eos_token_id=2,
            pad_token_id=1,
        )
    )
    randomise(unet, SEED, {"conv_out.weight": 0.7})
    randomise(vae, SEED + 1, {"decoder.conv_out.weight": 1.0})
    randomise(text, SEED + 2)
    return unet, vae, text


def save(folder, unet, vae, text):
    fresh(folder)
    save_component(unet, folder / "unet")
    save_component(vae, folder / "vae")
    with_old_attention_names(folder / "vae", vae)
    save_component(text, folder / "text_encoder")
    write_json(folder / "scheduler" / "scheduler_config.json", SD1_SCHEDULER)
    write_tokenizer_configs(folder / "tokenizer", {"content": "<|endoftext|>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False})
    write_model_index(
        folder,
        "StableDiffusionPipeline",
        feature_extractor=[None, None],
        safety_checker=[None, None],
        requires_safety_checker=False,
        scheduler=["diffusers", "PNDMScheduler"],
        text_encoder=["transformers", "CLIPTextModel"],
        tokenizer=["transformers", "CLIPTokenizer"],
        unet=["diffusers", "UNet2DConditionModel"],
        vae=["diffusers", "AutoencoderKL"],
    )


PROMPT = "A photo of a red car on a wet road, at night"
NEGATIVE = "blurry, low quality"


def run_pipeline(unet, vae, text, words, dtype, latents, eta, scheduler):
    pipeline = StableDiffusionPipeline(
        vae=vae.to(dtype), text_encoder=text.to(dtype), tokenizer=words, unet=unet.to(dtype),
        scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    timesteps = []

    def note(_pipeline, _step, timestep, kwargs):
        timesteps.append(int(timestep))
        return kwargs

    final = pipeline(
        PROMPT, negative_prompt=NEGATIVE, height=latents.shape[-2] * 8, width=latents.shape[-1] * 8,
        num_inference_steps=12, guidance_scale=7.5, eta=eta, latents=latents.to(dtype),
        generator=torch.Generator("cpu").manual_seed(SEED), output_type="latent", callback_on_step_end=note,
    ).images
    pixels = vae.decode(final / vae.config.scaling_factor).sample
    return final, pixels, timesteps


def export_pipeline(suffix, eta, unet, vae, text, words):
    latents = normal(SEED, f"pipeline{suffix} latents", (1, 4, 8, 6))
    inputs = {"latents": latents}
    runs = {}
    for dtype in (torch.float32, torch.float64):
        scheduler = DDIMScheduler.from_config(SD1_SCHEDULER | {"_class_name": "DDIMScheduler"})
        if eta > 0:
            # Noise comes from outside: the scheduler draws it from the generator in the latents' type, so hand it in instead.
            noise = normal(SEED, "pipeline step noise", (12, 1, 4, 8, 6))
            inputs["step_noise"] = noise
            step, calls = scheduler.step, iter(noise)

            def with_noise(model_output, timestep, sample, generator=None, **options):
                return step(model_output, timestep, sample, variance_noise=next(calls).to(sample.dtype), **options)

            with_noise.__signature__ = __import__("inspect").signature(step)
            scheduler.step = with_noise
        runs[dtype] = run_pipeline(unet, vae, text, words, dtype, latents, eta, scheduler)
    final, pixels, timesteps = runs[torch.float64]
    single = runs[torch.float32]
    settings = {
        "pipeline": "StableDiffusionPipeline", "sampler": "ddim", "steps": 12, "spacing": "leading", "eta": eta,
        "guidance_scale": 7.5, "prompt": PROMPT, "negative_prompt": NEGATIVE, "height": 64, "width": 48, "timesteps": timesteps,
        "f32_against_f64": {"latents": compare(final, single[0]), "pixels": compare(pixels.clamp(-1, 1), single[1].clamp(-1, 1))},
    }
    outputs = {"latents": final, "pixels": pixels.clamp(-1, 1)}
    write_pipeline(HERE, suffix, settings, inputs, outputs, SEED, __file__)
    print("   ", settings["f32_against_f64"])


def main():
    words = tokenizer()
    unet, vae, text = build()
    save(HERE / "model", unet, vae, text)
    write_json(HERE / "norm_eps.json", norm_eps(unet=unet, vae=vae, text_encoder=text))
    reference = Reference(SEED, __file__)
    context = normal(SEED, "context", (2, 77, 4))
    unet_case(reference, "square", unet, normal(SEED, "a", (2, 4, 8, 8)), torch.tensor([731]), context)
    unet_case(reference, "wide", unet, normal(SEED, "b", (1, 4, 7, 12)), torch.tensor([1]), normal(SEED, "c", (1, 5, 4)))
    unet_case(reference, "last", unet, normal(SEED, "d", (1, 4, 16, 8)), torch.tensor([999]), context[:1])
    vae_cases(reference, "square", vae, uniform(SEED, "e", (2, 3, 32, 32), -1, 1), normal(SEED, "f", (2, 4, 4, 4)))
    vae_cases(reference, "wide", vae, uniform(SEED, "g", (1, 3, 24, 40), -1, 1), normal(SEED, "h", (1, 4, 3, 5)))
    ids = tokens(words, [PROMPT, "", "x " * 100])
    text_case(reference, "prompts", text, ids)
    reference.write(HERE / "reference.safetensors")
    export_pipeline("", 0.0, unet, vae, text, words)
    export_pipeline("_eta1", 1.0, unet, vae, text, words)


if __name__ == "__main__":
    main()
