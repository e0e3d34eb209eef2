"""The x4 upscaler in small: seven input channels, the noise level as a class, cross-attention only on three of four levels."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from PIL import Image
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

SEED = 4


def build():
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=7,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 12, 16, 16),
        layers_per_block=2,
        norm_num_groups=4,
        cross_attention_dim=4,
        attention_head_dim=4,
        only_cross_attention=(True, True, True, False),
        use_linear_projection=True,
        num_class_embeds=1000,
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 16),
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=0.08333,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=4,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
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
    write_json(folder / "scheduler" / "scheduler_config.json", X4_SCHEDULER)
    write_json(folder / "low_res_scheduler" / "scheduler_config.json", X4_LOW_RES_SCHEDULER)
    write_tokenizer_configs(folder / "tokenizer", "!")
    write_model_index(
        folder,
        "StableDiffusionUpscalePipeline",
        low_res_scheduler=["diffusers", "DDPMScheduler"],
        max_noise_level=350,
        scheduler=["diffusers", "DDIMScheduler"],
        text_encoder=["transformers", "CLIPTextModel"],
        tokenizer=["transformers", "CLIPTokenizer"],
        unet=["diffusers", "UNet2DConditionModel"],
        vae=["diffusers", "AutoencoderKL"],
    )


PROMPT = "a wet road, sharp"


def run_pipeline(unet, vae, text, words, dtype, picture, image_noise, latents):
    """The upscaling pipeline, with its two draws of noise handed in: first the low-resolution picture's, then the latents."""
    from diffusers import DDIMScheduler, DDPMScheduler, StableDiffusionUpscalePipeline
    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_upscale as module

    pipeline = StableDiffusionUpscalePipeline(
        vae=vae.to(dtype), text_encoder=text.to(dtype), tokenizer=words, unet=unet.to(dtype),
        low_res_scheduler=DDPMScheduler.from_config(X4_LOW_RES_SCHEDULER), scheduler=DDIMScheduler.from_config(X4_SCHEDULER),
        max_noise_level=350,
    )
    pipeline.set_progress_bar_config(disable=True)
    drawn, timesteps = iter([image_noise]), []
    original, module.randn_tensor = module.randn_tensor, lambda shape, **_options: next(drawn).to(dtype)

    def note(step, timestep, _latents):
        timesteps.append(int(timestep))

    final = pipeline(
        PROMPT, image=picture, num_inference_steps=5, guidance_scale=9.0, noise_level=20, negative_prompt="blurry",
        latents=latents.to(dtype), output_type="latent", callback=note,
    ).images
    module.randn_tensor = original
    return final, vae.decode(final / vae.config.scaling_factor).sample, timesteps


def export_pipeline(unet, vae, text, words):
    levels = (uniform(SEED, "low", (16, 24, 3), 0, 256)).to(torch.uint8).numpy()
    picture = Image.fromarray(levels)
    picture.save(HERE / "low.png")
    low = torch.from_numpy(levels).permute(2, 0, 1)[None].double() / 255 * 2 - 1
    image_noise, latents = normal(SEED, "low noise", low.shape), normal(SEED, "latents", (1, 4, 16, 24))
    runs = {dtype: run_pipeline(unet, vae, text, words, dtype, picture, image_noise, latents) for dtype in (torch.float32, torch.float64)}
    (final, pixels, timesteps), single = runs[torch.float64], runs[torch.float32]
    settings = {
        "pipeline": "StableDiffusionUpscalePipeline", "sampler": "ddim", "steps": 5, "spacing": "leading", "eta": 0.0,
        "guidance_scale": 9.0, "noise_level": 20, "image": "low.png", "prompt": PROMPT, "negative_prompt": "blurry", "height": 64, "width": 96,
        "timesteps": timesteps,
        "f32_against_f64": {"latents": compare(final, single[0]), "pixels": compare(pixels.clamp(-1, 1), single[1].clamp(-1, 1))},
    }
    outputs = {"latents": final, "pixels": pixels.clamp(-1, 1)}
    write_pipeline(HERE, "", settings, {"latents": latents, "image_noise": image_noise, "image": low}, outputs, SEED, __file__)
    print("   ", settings["f32_against_f64"], timesteps)


def main():
    words = tokenizer("!")
    unet, vae, text = build()
    save(HERE / "model", unet, vae, text)
    write_json(HERE / "norm_eps.json", norm_eps(unet=unet, vae=vae, text_encoder=text))
    reference = Reference(SEED, __file__)
    context = normal(SEED, "context", (3, 77, 4))
    unet_case(
        reference, "square", unet, normal(SEED, "a", (3, 7, 16, 16)), torch.tensor([480.0]), context,
        class_labels=torch.tensor([20, 0, 350]),
    )
    unet_case(
        reference, "tall", unet, normal(SEED, "b", (1, 7, 22, 9)), torch.tensor([3.0]), context[:1], class_labels=torch.tensor([150])
    )
    vae_cases(reference, "square", vae, uniform(SEED, "c", (1, 3, 32, 32), -1, 1), normal(SEED, "d", (1, 4, 8, 8)))
    vae_cases(reference, "tall", vae, uniform(SEED, "e", (2, 3, 44, 20), -1, 1), normal(SEED, "f", (2, 4, 11, 5)))
    text_case(reference, "prompts", text, tokens(words, ["a wet road at night", "", "no! not that!"]))
    reference.write(HERE / "reference.safetensors")
    export_pipeline(unet, vae, text, words)


if __name__ == "__main__":
    main()
