"""What the exporters of this folder share: the noise table, the optimiser, ten steps in two precisions, and the files of a case.

Run an exporter as `python export.py` from its own folder, with the packages of `requirements.txt`.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import math
import sys
from pathlib import Path

_PARITY = Path(__file__).resolve().parent.parent / "parity" / "common.py"
_spec = importlib.util.spec_from_file_location("parity_common", _PARITY)
parity = importlib.util.module_from_spec(_spec)
sys.modules["parity_common"] = parity
_spec.loader.exec_module(parity)

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from parity_common import (  # noqa: F401
    SD1_SCHEDULER, SVD_SCHEDULER, TEMPORAL, fresh, normal, normalise_header, randomise, uniform, write_json, write_model_index,
)

torch.set_grad_enabled(True)

STEPS = 10
RATE, FAST_RATE = 1e-3, 1e-2
F64, F32 = torch.float64, torch.float32


# --- networks ------------------------------------------------------------------------------------


@contextlib.contextmanager
def groups(count):
    """Networks of diffusers that are made in here have `count` groups where diffusers fixes 32."""
    original = torch.nn.GroupNorm.__init__

    def changed(self, num_groups, *more, **named):
        original(self, count if num_groups == 32 else num_groups, *more, **named)

    torch.nn.GroupNorm.__init__ = changed
    try:
        yield
    finally:
        torch.nn.GroupNorm.__init__ = original


# --- inputs --------------------------------------------------------------------------------------


def integers(seed, name, shape, low, high):
    """Whole numbers in low..high-1."""
    return torch.randint(low, high, shape, generator=parity.generator(seed, name))


# --- noise ---------------------------------------------------------------------------------------


class Noise:
    """The table of a schedule in f64, x_t, and what a model predicts."""

    def __init__(self, kind, start, end, prediction):
        self.settings = {"prediction": prediction, "schedule": {"type": kind, "beta_start": start, "beta_end": end, "steps": 1000}}
        if kind == "scaled_linear":
            betas = torch.linspace(math.sqrt(start), math.sqrt(end), 1000, dtype=F64) ** 2
        else:
            betas = torch.linspace(start, end, 1000, dtype=F64)
        self.kept, self.prediction = torch.cumprod(1 - betas, 0), prediction

    def scales(self, timesteps, like):
        """sqrt(abar) and sqrt(1-abar) of each sample, shaped to multiply `like`."""
        kept = self.kept[timesteps].reshape(-1, *[1] * (like.ndim - 1))
        return kept.sqrt(), (1 - kept).sqrt()

    def noised(self, clean, noise, timesteps):
        a, s = self.scales(timesteps, clean)
        return a * clean.double() + s * noise.double()

    def target(self, clean, noise, timesteps):
        a, s = self.scales(timesteps, clean)
        return noise.double() if self.prediction == "epsilon" else a * noise.double() - s * clean.double()

    def scheduler(self):
        """The scheduler's file in diffusers' layout."""
        schedule = self.settings["schedule"]
        return SD1_SCHEDULER | {
            "_class_name": "DDIMScheduler",
            "beta_schedule": schedule["type"],
            "beta_start": schedule["beta_start"],
            "beta_end": schedule["beta_end"],
            "prediction_type": self.prediction if self.prediction == "epsilon" else "v_prediction",
        }


def weighted(predicted, target, given=None):
    """The mean of squares over all elements, or over those of the frames that are not given (`given` is [batch, frames])."""
    squares = (predicted - target.to(predicted.dtype)) ** 2
    if given is None:
        return squares.mean()
    weight = (1 - given.to(predicted.dtype))[:, :, None, None, None].expand_as(squares)
    return (weight * squares).sum() / weight.sum()


# --- a case --------------------------------------------------------------------------------------


class Case:
    """The files of one case. Parts are registered with the parameters behind their tensors, so gradients get the same names.

    A case that shares another's start weights and inputs (`shared` names it) has none of these files; its gradients are the
    other's, as far as it trains the same parameters.
    """

    def __init__(self, exporter, stage, seed, shared=None, **settings):
        self.folder = Path(exporter).resolve().parent
        self.stage, self.seed, self.shared, self.settings = stage, seed, shared, settings
        self.model = self.folder.parent / shared / "model" if shared else fresh(self.folder / "model")
        self.parts = {}

    def component(self, name, module, parameters=None):
        """A part in diffusers' layout. `parameters` are those of another module, under the names of this one, whose values are written."""
        if parameters is not None:
            own = dict(module.named_parameters())
            assert own.keys() == parameters.keys(), own.keys() ^ parameters.keys()
            for key, value in parameters.items():
                own[key].data.copy_(value.data)
        module.save_pretrained(self.model / name, safe_serialization=True, max_shard_size="900KB")
        for path in (self.model / name).glob("*.safetensors"):
            normalise_header(path)
        self.parts[name] = parameters if parameters is not None else dict(module.named_parameters())

    def file(self, name, parameters, config=None):
        """A part of our own in one file."""
        about = {"format": "pt", "vldm.format_version": "1"} | ({"vldm.config": json.dumps(config)} if config else {})
        path = self.model / f"{name}.safetensors"
        save_file({key: value.data.contiguous().clone() for key, value in parameters.items()}, path, metadata=about)
        normalise_header(path)
        self.parts[f"{name}.safetensors"] = dict(parameters)

    def index(self, pipeline, noise=None, **parts):
        if noise is not None:
            write_json(self.model / "scheduler" / "scheduler_config.json", noise if isinstance(noise, dict) else noise.scheduler())
            parts["scheduler"] = ["diffusers", noise["_class_name"] if isinstance(noise, dict) else "DDIMScheduler"]
        write_model_index(self.model, pipeline, **dict(sorted(parts.items())))

    def gradients(self, gradients):
        """Writes every tensor's gradient under its file and name; zeros where there is none."""
        target = self.folder.parent / self.shared / "gradient" if self.shared else fresh(self.folder / "gradient")
        for part, parameters in self.parts.items():
            paths = [self.model / part] if part.endswith(".safetensors") else sorted((self.model / part).glob("*.safetensors"))
            for path in paths:
                tensors = load_file(path)
                out = target / path.relative_to(self.model)
                if self.shared:
                    for name, value in load_file(out).items():
                        gradient = gradients.get(parameters[name])
                        assert gradient is None or torch.allclose(gradient.float(), value, rtol=1e-6, atol=1e-9), name
                    continue
                with safe_open(path, "pt") as opened:
                    about = opened.metadata()
                for name, value in tensors.items():
                    gradient = gradients.get(parameters[name])
                    tensors[name] = torch.zeros_like(value) if gradient is None else gradient.float().contiguous()
                    assert tensors[name].shape == value.shape and torch.isfinite(tensors[name]).all(), name
                out.parent.mkdir(parents=True, exist_ok=True)
                save_file(tensors, out, metadata=about)
                normalise_header(out)

    def inputs(self, tensors):
        about = {"format": "vldm-training", "format_version": "1", "seed": str(self.seed), "case": self.folder.name}
        about |= {name: importlib.metadata.version(name) for name in ("torch", "diffusers", "transformers")}
        path = self.folder / "steps.safetensors"
        save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata=about)
        normalise_header(path)

    def report(self, expected):
        expected = {"format_version": 1, "stage": self.stage, "precision": "f64"} | ({"shared": self.shared} if self.shared else {}) | expected
        (self.folder / "expected.json").write_text(json.dumps(expected, indent=2, ensure_ascii=False) + "\n")
        sizes = {path: path.stat().st_size for path in self.folder.rglob("*") if path.is_file()}
        assert max(sizes.values()) < 1 << 20, max(sizes, key=sizes.get)
        counts = {part: sum(value.numel() for value in parameters.values()) for part, parameters in self.parts.items()}
        print(f"{self.folder.name}: {sum(sizes.values()) / 1e6:.2f} MB, parameters {counts}")

    # --- ten steps ---

    def train(self, root, trained, inputs, loss, factor=lambda _step: 1.0, micro_batches=None):
        """Ten steps of AdamW in f64, and again in f32; writes inputs, gradients and what came out.

        Both once more at ten times the rate (`fast`), where an error of the optimiser shows a hundred times above the noise.
        `root` is a module that holds every parameter, `trained` those that learn, by name; `loss(batch, dtype, step)` takes
        the inputs of one step (or one micro-batch).
        """
        parameters = list(root.parameters())
        start = [parameter.data.float().clone() for parameter in parameters]
        trained = dict(trained)
        if not self.shared:
            self.inputs(inputs)

        def run(dtype, rate):
            root.to(dtype)
            for parameter, value in zip(parameters, start):
                parameter.data = value.to(dtype, copy=True)
                parameter.grad = None
                parameter.requires_grad_(False)
            for parameter in trained.values():
                parameter.requires_grad_(True)
            mixing = [value for name, value in trained.items() if name.endswith("mix_factor")]
            others = [value for name, value in trained.items() if not name.endswith("mix_factor")]
            groups = [{"params": others, "lr": rate, "weight_decay": 0.01}]
            if mixing:
                groups.append({"params": mixing, "lr": 10 * rate, "weight_decay": 0.0})
            rates = [group["lr"] for group in groups]
            optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8)
            losses, norms, gradients = [], [], None
            for step in range(STEPS):
                batch = {key: value[step] for key, value in inputs.items()}
                batches = [batch] if micro_batches is None else [{k: v[i] for k, v in batch.items()} for i in range(micro_batches)]
                total = 0.0
                for part in batches:
                    value = loss(part, dtype, step) / len(batches)
                    assert value.dtype == dtype, value.dtype
                    value.backward()
                    total += value.item()
                if step == 0:
                    gradients = {parameter: parameter.grad.clone() for parameter in trained.values() if parameter.grad is not None}
                norm = torch.nn.utils.clip_grad_norm_(list(trained.values()), 1.0)
                for group, full in zip(optimiser.param_groups, rates):
                    group["lr"] = full * factor(step)
                optimiser.step()
                optimiser.zero_grad()
                losses.append(total)
                norms.append(norm.item())
            return losses, norms, gradients

        fast32, _, _ = run(F32, FAST_RATE)
        fast, fast_norms, _ = run(F64, FAST_RATE)
        losses32, norms32, gradients32 = run(F32, RATE)
        losses, norms, gradients = run(F64, RATE)
        self.gradients(gradients)
        for parameter, value in zip(parameters, start):
            parameter.data = value
        settings = {
            "learning_rate": RATE, "mix_factor_learning_rate": 10 * RATE, "mix_factor_weight_decay": 0.0, "betas": [0.9, 0.999],
            "eps": 1e-8, "weight_decay": 0.01, "max_gradient_norm": 1.0,
        }
        difference = gradient_difference(gradients, gradients32)
        self.report({
            "losses": losses, "gradient_norms": norms, "f32_losses": losses32, "f32_gradient_norms": norms32,
            "f32_gradient_difference": difference,
            "fast": {"learning_rate": FAST_RATE, "losses": fast, "gradient_norms": fast_norms, "f32_losses": fast32},
            "settings": settings | self.settings,
        })
        worst, fast_worst = (max(abs(a - b) / a for a, b in zip(*pair)) for pair in ((losses, losses32), (fast, fast32)))
        missing = [name for name, parameter in trained.items() if parameter not in gradients]
        print("  losses", " ".join(f"{value:.4f}" for value in losses))
        print("  norms ", " ".join(f"{value:.3f}" for value in norms))
        print("  fast  ", " ".join(f"{value:.4f}" for value in fast))
        print(f"  f32 against f64: losses {worst:.1e}, fast {fast_worst:.1e}, first gradient {difference:.1e}; without a gradient: {missing}")


def gradient_difference(exact, single):
    """The norm of the difference of all gradients over their norm."""
    above = sum(((exact[key] - single[key].double()) ** 2).sum() for key in exact)
    below = sum((value**2).sum() for value in exact.values())
    return float(f"{(above / below).sqrt().item():.2e}")
