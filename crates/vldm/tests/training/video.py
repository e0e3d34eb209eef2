"""Temporal layers put into a diffusers image U-Net, written from the paper's equations, for the forms that diffusers lacks.

Those are: the context path into the temporal convolutions, one mixing weight per frame, no temporal cross-attention, no frame
index, a temporal context of its own. `temporal/export.py` asserts that where diffusers has the form, both agree.
"""

import math

import torch
from common import F64, normal, randomise, uniform
from diffusers import UNet2DConditionModel
from diffusers.models.attention import TemporalBasicTransformerBlock
from diffusers.models.embeddings import TimestepEmbedding, get_timestep_embedding
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel


class State:
    """What the temporal layers read beside their features: set before every call of the U-Net."""

    frames, first_frame, context, observed = 1, 0, None, None


class Mixer(torch.nn.Module):
    """out = α · spatial + (1 − α) · temporal, α one number or one per frame."""

    def __init__(self, count):
        super().__init__()
        self.mix_factor = torch.nn.Parameter(torch.zeros(count))

    def forward(self, spatial, temporal):
        """Both [batch, frames, …]."""
        alpha = torch.sigmoid(self.mix_factor).reshape(1, -1, *[1] * (spatial.ndim - 2))
        return alpha * spatial + (1 - alpha) * temporal


class TemporalResnet(torch.nn.Module):
    """GroupNorm, SiLU, Conv3d; noise level; GroupNorm, SiLU, Conv3d; skip. `observed` is (channels of c_S, channels after its convolution)."""

    def __init__(self, channels, embedding, groups, eps, observed=None, kernel=(3, 1, 1)):
        super().__init__()
        padding = [extent // 2 for extent in kernel]
        more = 0
        if observed is not None:
            more = observed[1]
            self.context_conv = torch.nn.Conv2d(observed[0], more, 3, padding=1)
        self.norm1 = torch.nn.GroupNorm(groups, channels + more, eps)
        self.conv1 = torch.nn.Conv3d(channels + more, channels, kernel, padding=padding)
        if embedding is not None:
            self.time_emb_proj = torch.nn.Linear(embedding, channels)
        self.norm2 = torch.nn.GroupNorm(groups, channels, eps)
        self.conv2 = torch.nn.Conv3d(channels, channels, kernel, padding=padding)

    def forward(self, x, embedding=None, observed=None):
        """x and observed [batch, channels, frames, height, width], embedding [batch, frames, width]."""
        h = x
        if observed is not None:
            batch, _, frames, height, width = x.shape
            images = observed.transpose(1, 2).flatten(0, 1)
            images = torch.nn.functional.adaptive_avg_pool2d(images, (height, width))
            images = self.context_conv(images).unflatten(0, (batch, frames)).transpose(1, 2)
            h = torch.cat([h, images], 1)
        h = self.conv1(torch.nn.functional.silu(self.norm1(h)))
        if embedding is not None:
            h = h + self.time_emb_proj(torch.nn.functional.silu(embedding)).transpose(1, 2)[..., None, None]
        return x + self.conv2(torch.nn.functional.silu(self.norm2(h)))


class WithTemporalResnet(torch.nn.Module):
    def __init__(self, spatial, temporal, mixer, state):
        super().__init__()
        self.spatial, self.temporal, self.mixer, self.state = spatial, temporal, mixer, state

    def forward(self, hidden, embedding, *_more, **_named):
        hidden = self.spatial(hidden, embedding).unflatten(0, (-1, self.state.frames))
        embedding = embedding.unflatten(0, (-1, self.state.frames))
        observed = self.state.observed
        observed = None if observed is None else observed.transpose(1, 2)
        temporal = self.temporal(hidden.transpose(1, 2), embedding, observed).transpose(1, 2)
        return self.mixer(hidden, temporal).flatten(0, 1)


class WithTemporalTransformer(torch.nn.Module):
    """A spatial transformer block, then a temporal one on the same tokens."""

    def __init__(self, spatial, temporal, positions, mixer, state):
        super().__init__()
        self.spatial, self.temporal, self.positions, self.mixer, self.state = spatial, temporal, positions, mixer, state

    def forward(self, hidden, *more, **named):
        hidden = self.spatial(hidden, *more, **named)
        frames, state = self.state.frames, self.state
        mixed, tokens = hidden, hidden.shape[1]
        if self.positions is not None:
            index = torch.arange(state.first_frame, state.first_frame + frames)
            code = get_timestep_embedding(index, hidden.shape[2], flip_sin_to_cos=True, downscale_freq_shift=0).to(hidden.dtype)
            mixed = mixed + self.positions(code).repeat(hidden.shape[0] // frames, 1)[:, None]
        context = None if state.context is None else state.context.repeat_interleave(tokens, 0)
        mixed = self.temporal(mixed, num_frames=frames, encoder_hidden_states=context)
        return self.mixer(hidden.unflatten(0, (-1, frames)), mixed.unflatten(0, (-1, frames))).flatten(0, 1)


def insert(unet, context_width=None, observed=None, positions=True, mixing_weights=1):
    """Puts temporal layers into an image U-Net; returns their state, and their parameters and the U-Net's own by diffusers' names."""
    spatial = dict(unet.named_parameters())
    groups, eps, embedding = unet.config.norm_num_groups, unet.config.norm_eps, 4 * unet.config.block_out_channels[0]
    state, parameters = State(), {}

    def keep(prefix, module):
        parameters.update({f"{prefix}.{name}": value for name, value in module.named_parameters()})

    for path, module in list(unet.named_modules()):
        if isinstance(module, ResnetBlock2D):
            temporal, mixer = TemporalResnet(module.out_channels, embedding, groups, eps, observed), Mixer(mixing_weights)
            owner, _, index = path.rpartition(".")
            unet.get_submodule(owner)[int(index)] = WithTemporalResnet(module, temporal, mixer, state)
            keep(f"{path}.temporal_res_block", temporal)
            keep(f"{path}.time_mixer", mixer)
        elif isinstance(module, Transformer2DModel):
            width, mixer = module.transformer_blocks[0].attn1.to_q.in_features, Mixer(mixing_weights)
            embed = TimestepEmbedding(width, 4 * width, out_dim=width) if positions else None
            for index, block in enumerate(module.transformer_blocks):
                heads = block.attn1.heads
                temporal = TemporalBasicTransformerBlock(width, width, heads, width // heads, cross_attention_dim=context_width)
                module.transformer_blocks[index] = WithTemporalTransformer(block, temporal, embed, mixer, state)
                keep(f"{path}.temporal_transformer_blocks.{index}", temporal)
            keep(f"{path}.time_mixer", mixer)
            if positions:
                keep(f"{path}.time_pos_embed", embed)
    return state, parameters, spatial


def image_model(seed, context_width, **settings):
    """A small image U-Net with random weights; unless asked for otherwise, its transformer stands in the middle only."""
    settings = {
        "sample_size": 8, "down_block_types": ("DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"), "block_out_channels": (8, 8), "layers_per_block": 1,
        "norm_num_groups": 4, "attention_head_dim": 2, "use_linear_projection": True,
    } | settings
    return randomise(UNet2DConditionModel(cross_attention_dim=context_width, **settings), seed, {"conv_out.weight": 0.7})


class Labels(torch.nn.Module):
    """One token: the sum of a row of each label's table, whose last row says that the label is not known."""

    def __init__(self, counts, width, seed):
        super().__init__()
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(count + 1, width) for count in counts)
        self.config = {
            "width": width, "labels": [{"name": name, "values": count} for name, count in zip(("daytime", "crowdedness"), counts)]
        }
        randomise(self, seed)

    def forward(self, labels):
        return sum(table(labels[:, index]) for index, table in enumerate(self.tables))[:, None]


class FrameRate(torch.nn.Module):
    """One token for the regime, and, when `rate` is set, one for the rate that is interpolated to."""

    def __init__(self, width, seed, rate=False):
        super().__init__()
        self.regime = torch.nn.Embedding(2, width)
        self.rate = torch.nn.Linear(256, width) if rate else None
        self.config = {"width": width, "regimes": 2, "target_rate": rate}
        randomise(self, seed)

    def forward(self, regimes, fps=None):
        tokens = [self.regime(regimes)]
        if self.rate is not None:
            code = get_timestep_embedding(fps, 256, flip_sin_to_cos=True, downscale_freq_shift=0)
            tokens.append(self.rate(code.to(tokens[0].dtype)))
        return torch.stack(tokens, 1)


def observed_frames(noise, batch):
    """(m·z, m·a): the given frames, noised to their level, and the mask, which carries the level. f64, [batch, frames, 5, height, width]."""
    levels = batch["augmentation_timesteps"]
    frames = noise.noised(batch["x0"], batch["augmentation_noise"], levels)
    scale, _ = noise.scales(levels, frames)
    given = batch["given"].double()[:, :, None, None, None]
    return torch.cat([given * frames, given * scale.to(F64).expand_as(frames[:, :, :1])], 2)


def randomise_temporal(parameters, seed, gain=1.0):
    """As `randomise` of the parity cases, by the names in a file."""
    for name, parameter in sorted(parameters.items()):
        shape, last = tuple(parameter.shape), name.split(".")[-2]
        if name.endswith("mix_factor"):
            value = uniform(seed, name, shape, -1.0, 1.0)
        elif last.startswith("norm"):
            value = uniform(seed, name, shape, 0.7, 1.3) if name.endswith("weight") else uniform(seed, name, shape, -0.2, 0.2)
        elif name.endswith("bias"):
            value = uniform(seed, name, shape, -0.2, 0.2) * gain
        else:
            value = normal(seed, name, shape, gain / math.sqrt(math.prod(shape[1:])))
        parameter.data.copy_(value)


def call(unet, state, x, timesteps, context, **more):
    """The U-Net on clips [batch, frames, channels, height, width]; timesteps and context are one per clip."""
    frames = x.shape[1]
    state.frames = frames
    more = {name: value.repeat_interleave(frames, 0) for name, value in more.items()}
    out = unet(x.flatten(0, 1), timesteps.repeat_interleave(frames, 0), encoder_hidden_states=context.repeat_interleave(frames, 0), **more)
    return out.sample.unflatten(0, (-1, frames))
