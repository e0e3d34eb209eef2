"""Stable Diffusion 2.x in small: linear projections, heads per level, OpenCLIP's text tower (exact GELU), v prediction.

Its text tower is stored under the names of published checkpoints (`text_model.` in front, `position_ids` as a tensor).
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

SEED = 21


def build():
    unet = UNet2DConditionModel(
        sample_size=12,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 12, 16, 16),
        layers_per_block=2,
        norm_num_groups=4,
        cross_attention_dim=4,
        attention_head_dim=(2, 3, 4, 1),
        use_linear_projection=True,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=96,
        scaling_factor=0.18215,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=4,
            intermediate_size=16,
            num_hidden_layers=4,
            num_attention_heads=1,
            max_position_embeddings=77,
            hidden_act="gelu",
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
    save_component(text, folder / "text_encoder")
    with_old_text_names(folder / "text_encoder", text)
    write_json(folder / "scheduler" / "scheduler_config.json", SD2_SCHEDULER)
    write_tokenizer_configs(folder / "tokenizer", "!")
    write_model_index(
        folder,
        "StableDiffusionPipeline",
        feature_extractor=[None, None],
        requires_safety_checker=False,
        safety_checker=[None, None],
        scheduler=["diffusers", "DDIMScheduler"],
        text_encoder=["transformers", "CLIPTextModel"],
        tokenizer=["transformers", "CLIPTokenizer"],
        unet=["diffusers", "UNet2DConditionModel"],
        vae=["diffusers", "AutoencoderKL"],
    )


PROMPTS = ["a red car on a wet road!", "two boats, at sea"]
NEGATIVES = ["", "grey"]


def run_pipeline(unet, vae, text, words, dtype, latents, settings):
    scheduler = DDIMScheduler.from_config(SD2_SCHEDULER | {"timestep_spacing": settings["spacing"]})
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
        PROMPTS, negative_prompt=NEGATIVES, height=settings["height"], width=settings["width"],
        num_inference_steps=settings["steps"], guidance_scale=settings["guidance_scale"], latents=latents.to(dtype),
        output_type="latent", callback_on_step_end=note,
    ).images
    return final, vae.decode(final / vae.config.scaling_factor).sample, timesteps


def export_pipeline(suffix, spacing, unet, vae, text, words):
    latents = normal(SEED, f"pipeline{suffix} latents", (2, 4, 6, 8))
    settings = {
        "pipeline": "StableDiffusionPipeline", "sampler": "ddim", "steps": 6, "spacing": spacing, "eta": 0.0,
        "guidance_scale": 5.0, "prompt": PROMPTS, "negative_prompt": NEGATIVES, "height": 48, "width": 64,
    }
    runs = {dtype: run_pipeline(unet, vae, text, words, dtype, latents, settings) for dtype in (torch.float32, torch.float64)}
    (final, pixels, timesteps), single = runs[torch.float64], runs[torch.float32]
    settings["timesteps"] = timesteps
    settings["f32_against_f64"] = {"latents": compare(final, single[0]), "pixels": compare(pixels.clamp(-1, 1), single[1].clamp(-1, 1))}
    outputs = {"latents": final, "pixels": pixels.clamp(-1, 1)}
    write_pipeline(HERE, suffix, settings, {"latents": latents}, outputs, SEED, __file__)
    print("   ", settings["f32_against_f64"], timesteps)


def main():
    words = tokenizer("!")
    unet, vae, text = build()
    save(HERE / "model", unet, vae, text)
    write_json(HERE / "norm_eps.json", norm_eps(unet=unet, vae=vae, text_encoder=text))
    reference = Reference(SEED, __file__)
    context = normal(SEED, "context", (2, 77, 4))
    unet_case(reference, "square", unet, normal(SEED, "a", (2, 4, 8, 8)), torch.tensor([531]), context)
    unet_case(reference, "tall", unet, normal(SEED, "b", (1, 4, 13, 6)), torch.tensor([0]), normal(SEED, "c", (1, 3, 4)))
    vae_cases(reference, "square", vae, uniform(SEED, "e", (1, 3, 32, 32), -1, 1), normal(SEED, "f", (1, 4, 4, 4)))
    text_case(reference, "prompts", text, tokens(words, PROMPTS + NEGATIVES + ["word " * 100]))
    reference.write(HERE / "reference.safetensors")
    export_pipeline("", "trailing", unet, vae, text, words)
    export_pipeline("_leading", "leading", unet, vae, text, words)


if __name__ == "__main__":
    main()
