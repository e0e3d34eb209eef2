"""Text-to-video: temporal layers with text cross-attention in a frozen image model, from SVD's network without its extra conditions."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403
import video

from diffusers import UNet2DConditionModel, UNetSpatioTemporalConditionModel
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel

SEED = 103
BATCH, FRAMES, GROUPS, CONTEXT = 2, 4, 4, 6
CHANNELS, HEADS = (8, 8), (2, 4)
FIRST = [0, 3, 17, 64, 1, 40, 0, 9, 28, 5]


class Nothing(torch.nn.Module):
    """Instead of the embedding of frame rate, motion and augmentation."""

    def forward(self, codes):
        return torch.zeros(codes.shape[0], 4 * CHANNELS[0], dtype=codes.dtype)


class From(torch.nn.Module):
    """The code of a frame index that begins elsewhere than at 0."""

    def __init__(self, code):
        super().__init__()
        self.code, self.first = code, 0

    def forward(self, index):
        return self.code(index + self.first)


def build():
    with groups(GROUPS):
        unet = UNetSpatioTemporalConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
            block_out_channels=CHANNELS,
            addition_time_embed_dim=2,
            projection_class_embeddings_input_dim=6,
            layers_per_block=1,
            cross_attention_dim=CONTEXT,
            num_attention_heads=HEADS,
            num_frames=FRAMES,
        )
    unet.add_embedding = Nothing()
    indices = []
    for path, module in unet.named_modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.eps = 1e-6 if ".attentions." in path else 1e-5
        if isinstance(module, TransformerSpatioTemporalModel):
            module.time_proj = From(module.time_proj)
            indices.append(module.time_proj)
    randomise(unet, SEED, {"conv_out.weight": 0.7})
    image = UNet2DConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=CHANNELS,
        layers_per_block=1,
        norm_num_groups=GROUPS,
        cross_attention_dim=CONTEXT,
        attention_head_dim=HEADS,
        use_linear_projection=True,
    )
    return unet, image, indices


def check(unet, image, temporal, inputs, indices):
    """The split into image model and temporal layers loses nothing: `video.py` computes the same from the two files."""
    whole = image.to(F64)
    state, parameters, _ = video.insert(whole, context_width=CONTEXT)
    assert parameters.keys() == temporal.keys(), parameters.keys() ^ temporal.keys()
    whole.to(F64)
    for name, value in temporal.items():
        assert parameters[name].shape == value.shape, name
        parameters[name].data.copy_(value.data)
    unet.to(F64)
    x, context, timesteps = inputs["x0"][2].double(), inputs["context"][2].double(), inputs["timesteps"][2]
    state.first_frame, state.context = FIRST[2], context
    for index in indices:
        index.first = FIRST[2]
    with torch.no_grad():
        ours = video.call(whole, state, x, timesteps, context)
        theirs = unet(x, timesteps, context, torch.zeros(BATCH, 3)).sample
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12), (ours - theirs).abs().max()


def main():
    unet, image, indices = build()
    temporal = {name: value for name, value in unet.named_parameters() if any(part in name for part in TEMPORAL)}
    spatial = {name.replace("spatial_res_block.", ""): value for name, value in unet.named_parameters() if name not in temporal}
    noise = Noise("scaled_linear", 0.00085, 0.012, "epsilon")
    case = Case(__file__, "temporal", SEED, trained=["temporal"], **noise.settings)
    case.component("unet", image, spatial)
    case.file(
        "temporal", temporal, {"context_width": CONTEXT, "positions": True, "alpha": {"type": "scalar"}, "start": "svd"}
    )
    case.index("StableDiffusionPipeline", noise, unet=["diffusers", "UNet2DConditionModel"])
    shape = (STEPS, BATCH, FRAMES, 4, 6, 8)
    inputs = {
        "x0": normal(SEED, "x0", shape),
        "noise": normal(SEED, "noise", shape),
        "timesteps": integers(SEED, "timesteps", (STEPS, BATCH), 0, 1000),
        "context": normal(SEED, "context", (STEPS, BATCH, 5, CONTEXT)),
        "first_frame": torch.tensor(FIRST),
    }
    check(unet, image, temporal, inputs, indices)
    unet.float()

    def loss(batch, dtype, _step):
        for index in indices:
            index.first = int(batch["first_frame"])
        clean, noised, timesteps = batch["x0"], batch["noise"], batch["timesteps"]
        x = noise.noised(clean, noised, timesteps).to(dtype)
        predicted = unet(x, timesteps, batch["context"].to(dtype), torch.zeros(BATCH, 3)).sample
        return weighted(predicted, noise.target(clean, noised, timesteps))

    case.train(unet, temporal, inputs, loss)


if __name__ == "__main__":
    main()
