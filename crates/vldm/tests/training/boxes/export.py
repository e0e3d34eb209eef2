"""Images from boxes: the box encoder and the image U-Net trained together, v."""

import math
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403
import video

from torch.nn.functional import gelu, scaled_dot_product_attention, silu

SEED = 112
BATCH, CONTEXT, SLOTS, CLASSES, FREQUENCIES, HIDDEN, LAYERS, HEADS = 3, 6, 5, 3, 3, 12, 2, 2
UNET = {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")}


class Attention(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v, self.to_out = (torch.nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.to_q, self.to_k, self.to_v))
        return self.to_out(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FeedForward(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj_in, self.proj_out = torch.nn.Linear(width, 8 * width), torch.nn.Linear(4 * width, width)

    def forward(self, x):
        value, gate = self.proj_in(x).chunk(2, -1)
        return self.proj_out(value * gelu(gate))


class Layer(torch.nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attn = torch.nn.LayerNorm(width), Attention(width, heads)
        self.norm2, self.ff = torch.nn.LayerNorm(width), FeedForward(width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.ff(self.norm2(x))


class BoxEncoder(torch.nn.Module):
    """A token per slot; empty slots are tokens too."""

    def __init__(self):
        super().__init__()
        self.linear_1 = torch.nn.Linear(8 * FREQUENCIES, HIDDEN)
        self.class_embedding = torch.nn.Embedding(CLASSES + 1, HIDDEN)
        self.linear_2 = torch.nn.Linear(HIDDEN, HIDDEN)
        self.layers = torch.nn.ModuleList(Layer(HIDDEN, HEADS) for _ in range(LAYERS))
        self.norm, self.proj_out = torch.nn.LayerNorm(HIDDEN), torch.nn.Linear(HIDDEN, CONTEXT)

    def forward(self, boxes, classes):
        """boxes [batch, slots, 4], classes [batch, slots]."""
        dtype = self.norm.weight.dtype
        phases = torch.cat([boxes.double() * math.pi * 2**k for k in range(FREQUENCIES)], -1)
        codes = torch.cat([phases.sin(), phases.cos()], -1).to(dtype)
        x = self.linear_2(silu(self.linear_1(codes) + self.class_embedding(classes)))
        for layer in self.layers:
            x = layer(x)
        return self.proj_out(self.norm(x))


def boxes():
    """Corners in order, the last slots of every picture empty."""
    shape = (STEPS, BATCH, SLOTS)
    corners = uniform(SEED, "corners", (*shape, 2, 2), 0, 1)
    corners = torch.cat([corners.amin(-2), corners.amax(-2)], -1)
    classes = integers(SEED, "classes", shape, 0, CLASSES)
    empty = torch.arange(SLOTS) >= integers(SEED, "counts", (STEPS, BATCH, 1), 0, SLOTS + 1)
    return torch.where(empty[..., None], 0.0, corners), torch.where(empty, CLASSES, classes)


def main():
    unet, encoder = video.image_model(SEED, CONTEXT, **UNET), randomise(BoxEncoder(), SEED + 1)
    noise = Noise("scaled_linear", 0.0015, 0.0195, "v")
    case = Case(__file__, "image", SEED, trained=["unet", "boxes"], **noise.settings)
    case.component("unet", unet)
    config = {
        "max_boxes": SLOTS, "classes": CLASSES, "frequencies": FREQUENCIES, "hidden": HIDDEN, "layers": LAYERS, "heads": HEADS,
        "width": CONTEXT,
    }
    case.file("boxes", dict(encoder.named_parameters()), config)
    case.index("StableDiffusionPipeline", noise, unet=["diffusers", "UNet2DConditionModel"])
    coordinates, classes = boxes()
    inputs = {
        "x0": normal(SEED, "x0", (STEPS, BATCH, 1, 4, 6, 8)),
        "noise": normal(SEED, "noise", (STEPS, BATCH, 1, 4, 6, 8)),
        "timesteps": integers(SEED, "timesteps", (STEPS, BATCH), 0, 1000),
        "boxes": coordinates,
        "box_classes": classes,
    }

    def loss(batch, dtype, _step):
        clean, noised, timesteps = batch["x0"][:, 0], batch["noise"][:, 0], batch["timesteps"]
        context = encoder(batch["boxes"], batch["box_classes"])
        x = noise.noised(clean, noised, timesteps).to(dtype)
        predicted = unet(x, timesteps, encoder_hidden_states=context).sample
        return weighted(predicted, noise.target(clean, noised, timesteps))

    root = torch.nn.ModuleDict({"unet": unet, "boxes": encoder})
    case.train(root, root.named_parameters(), inputs, loss)


if __name__ == "__main__":
    main()
