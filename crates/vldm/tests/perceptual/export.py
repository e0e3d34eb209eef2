# /// script
# dependencies = ["torch==2.15.0", "safetensors"]
# ///
"""Writes weights.safetensors and case.safetensors: LPIPS of two pairs of pictures by PyTorch.

    python3 export.py                a narrow VGG-16 with random weights, beside this file
    python3 export.py --full FOLDER  the full network with random weights by the package lpips

The narrow network is written down here from the definition (Zhang et al. 2018, eq. 1). Needs torch and
safetensors, for --full also lpips 0.1.4 and torchvision; with --full the definition is compared with the package.
The arithmetic is f64, the files are f32. The full network is checked by

    VLDM_LPIPS_REFERENCE=FOLDER cargo test --workspace --lib -- perceptual
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

BLOCKS = [2, 2, 3, 3, 3]
SHIFT = torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float64).view(1, 3, 1, 1)
SCALE = torch.tensor([0.458, 0.448, 0.450], dtype=torch.float64).view(1, 3, 1, 1)


def random_weights(widths):
    weights, number, inputs = {}, 0, 3
    for block, width in zip(BLOCKS, widths):
        for _ in range(block):
            deviation = (2 / (9 * inputs)) ** 0.5
            weights[f"features.{number}.weight"] = torch.randn(width, inputs, 3, 3) * deviation
            # Above zero, so that no position is zero in all channels: there the length has no gradient.
            weights[f"features.{number}.bias"] = torch.rand(width) * 0.3
            number, inputs = number + 2, width
        number += 1
    for slice, width in enumerate(widths):
        weights[f"lin{slice}.model.1.weight"] = torch.rand(1, width, 1, 1)
    return weights


def features(weights, x):
    x, number = (x - SHIFT) / SCALE, 0
    for index, block in enumerate(BLOCKS):
        if index:
            x = F.max_pool2d(x, 2, 2)
        for _ in range(block):
            x = F.relu(F.conv2d(x, weights[f"features.{number}.weight"], weights[f"features.{number}.bias"], padding=1))
            number += 2
        number += 1
        yield x


def distance(weights, a, b):
    total = 0
    for slice, (x, y) in enumerate(zip(features(weights, a), features(weights, b))):
        x, y = (v / (v.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for v in (x, y))
        lin = weights[f"lin{slice}.model.1.weight"]
        total = total + ((x - y).pow(2) * lin).sum(1).mean((1, 2))
    return total


def from_package():
    import lpips

    model = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).eval()
    weights = {}
    for name, value in model.net.named_parameters():
        _, number, leaf = name.split(".")  # slice1.0.weight
        weights[f"features.{number}.{leaf}"] = value.detach()
    for slice in range(5):
        weights[f"lin{slice}.model.1.weight"] = getattr(model, f"lin{slice}").model[1].weight.detach()
    return weights, model


def main():
    torch.manual_seed(5)
    torch.set_num_threads(1)
    model, folder = None, Path(__file__).parent
    if len(sys.argv) == 3 and sys.argv[1] == "--full":
        weights, model = from_package()
        folder = Path(sys.argv[2])
        folder.mkdir(exist_ok=True)
        sides = (64, 80)
    else:
        weights = random_weights([6, 6, 8, 8, 8])
        sides = (37, 50)
    a = torch.rand(2, 3, *sides) * 2 - 1
    b = (a + torch.randn(2, 3, *sides) * 0.3).clamp(-1, 1)
    wide = {name: value.double() for name, value in weights.items()}
    leaf = a.double().requires_grad_()
    distances = distance(wide, leaf, b.double())
    distances.sum().backward()
    gradient = leaf.grad
    assert torch.isfinite(gradient).all()
    if model is not None:
        theirs_leaf = a.clone().requires_grad_()
        theirs = model(theirs_leaf, b).flatten()
        theirs.sum().backward()
        print("package", theirs.tolist(), "definition", distances.tolist())
        print("gradients differ by", ((theirs_leaf.grad - gradient).abs().max() / gradient.abs().max()).item())
        distances, gradient = theirs, theirs_leaf.grad
    case = {"a": a, "b": b, "distances": distances.detach().float(), "gradient": gradient.float()}
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / "weights.safetensors")
    save_file({k: v.contiguous() for k, v in case.items()}, folder / "case.safetensors")


main()
