"""Low-rank adapters on the U-Net and the text encoder of `dreambooth`, which stay as they are.

peft adds them, diffusers writes the adapters that they begin with: `adapter/` is what its users publish.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from transformers import CLIPTextModel

SEED = 116
RANK, ALPHA, PRIOR_WEIGHT = 4, 6, 1.0
SHARED = HERE.parent / "dreambooth"
TARGETS = {"unet": ["to_q", "to_k", "to_v", "to_out.0"], "text_encoder": ["q_proj", "k_proj", "v_proj", "out_proj"]}


def main():
    unet = UNet2DConditionModel.from_pretrained(SHARED / "model" / "unet")
    text = CLIPTextModel.from_pretrained(SHARED / "model" / "text_encoder")
    networks = {"unet": unet, "text_encoder": text}
    parts = {name: dict(module.named_parameters()) for name, module in networks.items()}
    for name, module in networks.items():
        module.requires_grad_(False)
        module.add_adapter(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS[name]))
    root = torch.nn.ModuleDict(networks)
    adapters = {name: value for name, value in root.named_parameters() if "lora_" in name}
    for name, value in adapters.items():
        # B begins at zero in training; here the gradient of A shall be seen too.
        scale = value.shape[1] ** -0.5
        value.data.copy_(normal(SEED, name, value.shape) * scale * (0.5 if "lora_B" in name else 1.0))
    write_adapters(HERE / "adapter", networks)

    noise = Noise("scaled_linear", 0.00085, 0.012, "epsilon")
    case = Case(
        __file__, "dreambooth", SEED, shared="dreambooth", trained=["lora"], rank=RANK, alpha=ALPHA, targets=TARGETS,
        peft=importlib.metadata.version("peft"), **noise.settings,
    )
    case.parts = parts
    inputs = load_file(SHARED / "steps.safetensors")

    def loss(batch, dtype, _step):
        clean, noised, timesteps = batch["x0"][:, 0], batch["noise"][:, 0], batch["timesteps"]
        context = text(batch["input_ids"]).last_hidden_state
        x = noise.noised(clean, noised, timesteps).to(dtype)
        predicted = unet(x, timesteps, encoder_hidden_states=context).sample
        target = noise.target(clean, noised, timesteps)
        return weighted(predicted[:1], target[:1]) + PRIOR_WEIGHT * weighted(predicted[1:], target[1:])

    first = {}
    own = case.gradients
    case.gradients = lambda gradients: (first.update({name: gradients[value].float() for name, value in adapters.items()}), own(gradients))
    case.train(root, adapters.items(), inputs, loss)
    path = fresh(HERE / "gradient") / "lora.safetensors"
    names = {name: name.replace(".default", "") for name in first}
    save_file({names[name]: value.contiguous() for name, value in first.items()}, path)
    normalise_header(path)


def write_adapters(folder, networks):
    """As diffusers writes them."""
    layers = {name: get_peft_model_state_dict(module, adapter_name="default") for name, module in networks.items()}
    about = {name: module.peft_config["default"].to_dict() | {"base_model_name_or_path": None} for name, module in networks.items()}
    StableDiffusionPipeline.save_lora_weights(
        fresh(folder), unet_lora_layers=layers["unet"], text_encoder_lora_layers=layers["text_encoder"],
        unet_lora_adapter_metadata=about["unet"], text_encoder_lora_adapter_metadata=about["text_encoder"],
    )
    for path in folder.glob("*.safetensors"):
        normalise_header(path)


if __name__ == "__main__":
    main()
