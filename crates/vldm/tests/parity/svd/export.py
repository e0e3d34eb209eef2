"""Stable Video Diffusion in small: U-Net and decoder with temporal layers, CLIP's image tower, Euler steps on the Karras grid.

diffusers fixes 32 groups in every normalisation of these networks, so no width can be below 32.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from PIL import Image
from diffusers import AutoencoderKLTemporalDecoder, EulerDiscreteScheduler, StableVideoDiffusionPipeline, UNetSpatioTemporalConditionModel
from diffusers.pipelines.stable_video_diffusion import pipeline_stable_video_diffusion as pipeline_module
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

SEED = 31
FEATURE_EXTRACTOR = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 224},
}


def build():
    unet = UNetSpatioTemporalConditionModel(
        sample_size=8,
        in_channels=8,
        out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        block_out_channels=(32, 32, 32),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        layers_per_block=1,
        cross_attention_dim=8,
        num_attention_heads=(2, 4, 1),
        num_frames=4,
    )
    vae = AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4,
        block_out_channels=(32, 32, 32, 32),
        layers_per_block=2,
        latent_channels=4,
        sample_size=64,
        scaling_factor=0.18215,
    )
    vision = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            projection_dim=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=224,
            patch_size=14,
            hidden_act="gelu",
        )
    )
    randomise(unet, SEED, {".conv_out.weight": 0.7})
    randomise(vae, SEED + 1, {"time_conv_out.weight": 0.7})
    randomise(vision, SEED + 2)
    return unet, vae, vision


def save(folder, unet, vae, vision):
    fresh(folder)
    save_component(unet, folder / "unet", max_shard_size="980KB")
    save_component(vae, folder / "vae", max_shard_size="980KB")
    save_component(vision, folder / "image_encoder")
    write_json(folder / "scheduler" / "scheduler_config.json", SVD_SCHEDULER)
    write_json(folder / "feature_extractor" / "preprocessor_config.json", FEATURE_EXTRACTOR)
    write_model_index(
        folder,
        "StableVideoDiffusionPipeline",
        feature_extractor=["transformers", "CLIPImageProcessor"],
        image_encoder=["transformers", "CLIPVisionModelWithProjection"],
        scheduler=["diffusers", "EulerDiscreteScheduler"],
        unet=["diffusers", "UNetSpatioTemporalConditionModel"],
        vae=["diffusers", "AutoencoderKLTemporalDecoder"],
    )


def picture(width, height):
    """A picture with slopes, edges and a disc."""
    y, x = np.mgrid[0:height, 0:width]
    red = 255 * x / (width - 1)
    green = 255 * y / (height - 1)
    blue = 127 + 120 * np.sin(x / 9.0) * np.cos(y / 7.0)
    image = np.stack([red, green, blue], -1)
    image[(x // 12 + y // 10) % 5 == 0] *= 0.3
    image[(x - width * 0.6) ** 2 + (y - height * 0.4) ** 2 < (height * 0.22) ** 2] = (240, 30, 90)
    return Image.fromarray(image.clip(0, 255).astype(np.uint8))


def is_temporal(name):
    """Whether a parameter of the U-Net or of the decoder belongs to what a video model adds to an image model."""
    return any(part in name for part in TEMPORAL)


def make_pipeline(unet, vae, vision, dtype):
    pipeline = StableVideoDiffusionPipeline(
        vae=vae.to(dtype), image_encoder=vision.to(dtype), unet=unet.to(dtype),
        scheduler=EulerDiscreteScheduler.from_config(SVD_SCHEDULER), feature_extractor=CLIPImageProcessor(**FEATURE_EXTRACTOR),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def run_pipeline(parts, dtype, image, image_noise, latents, settings):
    """One run; the pipeline's own draw (the noise on the picture) and everything it hands to its networks are intercepted."""
    pipeline = make_pipeline(*parts, dtype)
    unet, vae, vision = pipeline.unet, pipeline.vae, pipeline.image_encoder
    seen = {}
    hooks = [
        vision.register_forward_pre_hook(lambda _module, args: seen.update(clip_pixel_values=args[0])),
        vision.register_forward_hook(lambda _module, _args, result: seen.update(image_embeds=result.image_embeds)),
        unet.register_forward_pre_hook(lambda _module, args, kwargs: seen.update(added_time_ids=kwargs["added_time_ids"][-1:], model_input=args[0]), with_kwargs=True),
    ]
    encode = vae.encode

    def encoded(sample):
        seen["encoder_input"] = sample
        result = encode(sample)
        seen["image_latents"] = result.latent_dist.mode()
        return result

    vae.encode = encoded
    drawn = iter([image_noise])
    original, pipeline_module.randn_tensor = pipeline_module.randn_tensor, lambda shape, **options: next(drawn).to(options["dtype"])
    final = pipeline(
        image, height=settings["height"], width=settings["width"], num_frames=settings["frames"], num_inference_steps=settings["steps"],
        min_guidance_scale=settings["guidance_scale"][0], max_guidance_scale=settings["guidance_scale"][1], fps=settings["fps"],
        motion_bucket_id=settings["motion_bucket"], noise_aug_strength=settings["noise_augmentation"],
        latents=latents[None].to(dtype), output_type="latent",
    ).frames
    pipeline_module.randn_tensor = original
    vae.encode = encode
    for hook in hooks:
        hook.remove()
    pixels = pipeline.decode_latents(final, settings["frames"], settings["frames"]).clamp(-1, 1)
    seen["timesteps"], seen["sigmas"] = pipeline.scheduler.timesteps, pipeline.scheduler.sigmas
    return final[0], pixels[0].permute(1, 0, 2, 3), seen


def export_pipeline(suffix, image, settings, parts):
    frames, height, width = settings["frames"], settings["height"], settings["width"]
    latents = normal(SEED, f"pipeline{suffix} latents", (frames, 4, height // 8, width // 8))
    image_noise = normal(SEED, f"pipeline{suffix} image noise", (1, 3, height, width))
    runs = {dtype: run_pipeline(parts, dtype, image, image_noise, latents, settings) for dtype in (torch.float32, torch.float64)}
    (final, pixels, seen), single = runs[torch.float64], runs[torch.float32]
    clip = seen.pop("clip_pixel_values")
    seen.pop("model_input")
    settings["f32_against_f64"] = {"latents": compare(final, single[0]), "pixels": compare(pixels, single[1])}
    middle = {f"intermediate/{name}": value for name, value in seen.items()}
    middle["intermediate/clip_pixel_values_every_4th"] = clip[..., ::4, ::4]
    outputs = {"latents": final, "pixels": pixels, **middle}
    write_pipeline(HERE, suffix, settings, {"latents": latents, "image_noise": image_noise}, outputs, SEED, __file__)
    print("   ", settings["f32_against_f64"])


def export_pipelines(parts):
    """A picture of the asked size, enlarged for CLIP; and one of another size and shape, blurred and shrunk for CLIP."""
    same, other = picture(48, 64), picture(330, 256)
    same.save(HERE / "picture_48x64.png", optimize=True)
    other.save(HERE / "picture_330x256.png", optimize=True)
    common = {"pipeline": "StableVideoDiffusionPipeline", "sampler": "euler", "fps": 7, "motion_bucket": 127, "noise_augmentation": 0.02}
    first = {"image": "picture_48x64.png", "height": 64, "width": 48, "frames": 4, "steps": 8, "guidance_scale": [1.0, 3.0]}
    export_pipeline("", same, common | first, parts)
    second = {"image": "picture_330x256.png", "height": 40, "width": 64, "frames": 3, "steps": 4, "guidance_scale": [1.5, 2.5]}
    second |= {"fps": 12, "motion_bucket": 40, "noise_augmentation": 0.1}
    export_pipeline("_resized", other, common | second, parts)


def main():
    unet, vae, vision = parts = build()
    save(HERE / "model", unet, vae, vision)
    write_json(HERE / "norm_eps.json", norm_eps(unet=unet, vae=vae, image_encoder=vision))
    names = {"unet": unet, "vae": vae}
    write_json(HERE / "temporal_parameters.json", {part: [name for name in module.state_dict() if is_temporal(name)] for part, module in names.items()})
    export_pipelines(parts)

    reference = Reference(SEED, __file__)
    ids = torch.tensor([[6.0, 127.0, 0.02], [24.0, 5.0, 0.5]])
    unet_case(
        reference, "clip", unet, normal(SEED, "a", (1, 4, 8, 8, 6)), torch.tensor([1.6377]), normal(SEED, "b", (1, 1, 8)), added_time_ids=ids[:1]
    )
    # More than one token keeps the queries and keys of the cross-attentions alive, two clips catch a wrong pairing of context and clip.
    unet_case(
        reference, "two_clips", unet, normal(SEED, "c", (2, 3, 8, 6, 10)), torch.tensor([-0.731]), normal(SEED, "d", (2, 3, 8)), added_time_ids=ids
    )
    unet_case(
        reference, "one_frame", unet, normal(SEED, "e", (2, 1, 8, 7, 5)), torch.tensor([0.25]), normal(SEED, "f", (2, 1, 8)), added_time_ids=ids
    )
    vae_cases(reference, "clip", vae, uniform(SEED, "g", (2, 3, 32, 24), -1, 1), normal(SEED, "h", (5, 4, 4, 3)), num_frames=5)
    vae_cases(reference, "two_clips", vae, None, normal(SEED, "i", (6, 4, 2, 4)), num_frames=3)
    vae_cases(reference, "one_frame", vae, None, normal(SEED, "j", (1, 4, 5, 3)), num_frames=1)
    reference.write(HERE / "reference.safetensors")


if __name__ == "__main__":
    main()
