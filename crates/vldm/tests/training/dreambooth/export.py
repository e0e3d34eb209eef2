"""DreamBooth: U-Net and text encoder trained together on an instance and a picture that keeps the class."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

SEED = 106
BATCH, TOKENS, WORDS, PRIOR_WEIGHT = 2, 77, 60, 1.0


def main():
    unet = UNet2DConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=12,
        attention_head_dim=2,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=WORDS,
            hidden_size=12,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=3,
            max_position_embeddings=TOKENS,
            hidden_act="quick_gelu",
            projection_dim=12,
            bos_token_id=WORDS - 2,
            eos_token_id=WORDS - 1,
            pad_token_id=WORDS - 1,
        )
    )
    randomise(unet, SEED, {"conv_out.weight": 0.7})
    randomise(text, SEED + 1)
    noise = Noise("scaled_linear", 0.00085, 0.012, "epsilon")
    case = Case(
        __file__, "dreambooth", SEED, trained=["unet", "text_encoder"], **noise.settings,
        prior_weight=PRIOR_WEIGHT, samples=["instance", "class"],
    )
    case.component("unet", unet)
    case.component("text_encoder", text)
    case.index(
        "StableDiffusionPipeline", noise, unet=["diffusers", "UNet2DConditionModel"], text_encoder=["transformers", "CLIPTextModel"]
    )
    # A start, some words, and ends up to the full length, as the tokenizer pads.
    ids = integers(SEED, "words", (STEPS, BATCH, TOKENS), 0, WORDS - 2)
    lengths = integers(SEED, "lengths", (STEPS, BATCH, 1), 3, 12)
    ids = torch.where(torch.arange(TOKENS) > lengths, WORDS - 1, ids)
    ids[..., 0] = WORDS - 2
    inputs = {
        "x0": normal(SEED, "x0", (STEPS, BATCH, 1, 4, 8, 8)),
        "noise": normal(SEED, "noise", (STEPS, BATCH, 1, 4, 8, 8)),
        "timesteps": integers(SEED, "timesteps", (STEPS, BATCH), 0, 1000),
        "input_ids": ids,
    }

    def loss(batch, dtype, _step):
        clean, noised, timesteps = batch["x0"][:, 0], batch["noise"][:, 0], batch["timesteps"]
        context = text(batch["input_ids"]).last_hidden_state
        x = noise.noised(clean, noised, timesteps).to(dtype)
        predicted = unet(x, timesteps, encoder_hidden_states=context).sample
        target = noise.target(clean, noised, timesteps)
        return weighted(predicted[:1], target[:1]) + PRIOR_WEIGHT * weighted(predicted[1:], target[1:])

    root = torch.nn.ModuleDict({"unet": unet, "text_encoder": text})
    case.train(root, root.named_parameters(), inputs, loss)


if __name__ == "__main__":
    main()
