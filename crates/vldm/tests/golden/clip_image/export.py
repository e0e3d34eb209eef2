# /// script
# requires-python = ">=3.11"
# dependencies = ["diffusers==0.42.1", "transformers==5.23.0", "torch==2.15.0", "numpy"]
# ///
"""Writes `fixture.safetensors`: pictures as Stable Video Diffusion's picture encoder gets them.

The pictures follow a formula that the test repeats, so that only the results are stored. Names
are `HEIGHTxWIDTH_SIZE`; of the results at size 224 every 7th row and column is kept.
"""

from pathlib import Path

import diffusers
import torch
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import (
    _resize_with_antialiasing,
)
from safetensors.torch import save_file
from transformers import CLIPImageProcessor

HERE = Path(__file__).resolve().parent
CASES = [
    (32, 32, 32),
    (20, 24, 32),
    (48, 64, 32),
    (257, 130, 32),
    (100, 15, 32),
    (2, 70, 32),
    (48, 64, 224),
    (330, 256, 224),
    (576, 1024, 224),
]


def picture(height, width):
    channel = torch.arange(3)[:, None, None]
    y = torch.arange(height)[None, :, None]
    x = torch.arange(width)[None, None, :]
    return (7 * x + 13 * y + 29 * channel + x * y // 5) % 256


def main():
    processor = CLIPImageProcessor()
    results = {}
    for height, width, size in CASES:
        # The steps of `_encode_image`, from the picture in [0, 1] on.
        image = picture(height, width)[None].to(torch.float32) / 255.0
        image = image * 2.0 - 1.0
        image = _resize_with_antialiasing(image, (size, size))
        image = (image + 1.0) / 2.0
        image = processor(
            images=image,
            do_normalize=True,
            do_center_crop=False,
            do_resize=False,
            do_rescale=False,
            return_tensors="pt",
        ).pixel_values[0]
        if size == 224:
            image = image[:, ::7, ::7]
        results[f"{height}x{width}_{size}"] = image.contiguous()
    metadata = {"reference": f"diffusers {diffusers.__version__}, torch {torch.__version__}"}
    save_file(results, HERE / "fixture.safetensors", metadata)


if __name__ == "__main__":
    main()
