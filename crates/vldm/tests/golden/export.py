"""Writes the golden tables beside this file from diffusers 0.42.1.

    python export.py

- schedules.json: timesteps, sigmas and initial noise scales of diffusers' schedulers for many
  schedules, spacings and numbers of steps, and the tables of alphas_cumprod.
- samplers.json: trajectories of diffusers' schedulers on an analytic stand-in for a network.
- noise.json: the first values of the counter-based generator, from an implementation of
  ChaCha8 and Box-Muller in plain Python.
"""

import json
import math
import pathlib
import struct

import diffusers
import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
)

HERE = pathlib.Path(__file__).parent
assert diffusers.__version__ == "0.42.1", diffusers.__version__

BETAS = {
    "stable_diffusion": ("scaled_linear", 0.00085, 0.012),
    "driving": ("scaled_linear", 0.0015, 0.0195),
    "pixel_upsampler": ("linear", 1e-4, 2e-2),
}
SCHEDULERS = {
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "euler_ancestral": EulerAncestralDiscreteScheduler,
    "heun": HeunDiscreteScheduler,
    "dpmpp_2m": DPMSolverMultistepScheduler,
}
STEPS = [1, 2, 5, 8, 12, 25, 50]


def betas(name, **more):
    kind, start, end = BETAS[name]
    return {"beta_schedule": kind, "beta_start": start, "beta_end": end, **more}


def scheduler_for(sampler, config):
    config = dict(config)
    if sampler == "ddim":
        config.update(clip_sample=False)
    return SCHEDULERS[sampler](**config)


def digits(values):
    return [float(f"{float(v):.9g}") for v in values]


# --- schedules -------------------------------------------------------------------------------


def exact_alphas_cumprod(name):
    kind, start, end = BETAS[name]
    if kind == "linear":
        table = np.linspace(start, end, 1000)
    else:
        table = np.linspace(start**0.5, end**0.5, 1000) ** 2
    return np.cumprod(1.0 - table)


def tables():
    rows = []
    picked = [0, 1, 2, 10, 100, 250, 500, 750, 900, 998, 999]
    for name in BETAS:
        for zero in [False, True]:
            # EulerDiscrete keeps the last entry above 0.
            scheduler = EulerDiscreteScheduler(**betas(name, rescale_betas_zero_snr=zero))
            row = {
                "schedule": name,
                "zero_terminal_snr": zero,
                "timesteps": picked,
                "alphas_cumprod": digits(scheduler.alphas_cumprod[picked]),
            }
            if not zero:
                row["exact"] = [float(v) for v in exact_alphas_cumprod(name)[picked]]
            rows.append(row)
    return rows


def grid(sampler, scheduler, steps):
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps.double()
    if sampler == "ddim":
        sigmas = [((1 - a) / a) ** 0.5 for a in scheduler.alphas_cumprod.double()[timesteps.long()]]
        sigmas.append(0.0)
    else:
        sigmas = scheduler.sigmas.double().tolist()
    if sampler == "heun":  # one entry per step, not per network call
        sigmas = [sigmas[0], *sigmas[1:-1:2], sigmas[-1]]
        timesteps = torch.cat([timesteps[:1], timesteps[1::2]])
    return timesteps.tolist(), sigmas


def schedule_rows():
    rows = []
    spacings = [("leading", 0), ("leading", 1), ("trailing", 0), ("linspace", 0)]
    for name in BETAS:
        for sampler in SCHEDULERS:
            for spacing, offset in spacings:
                for karras in [False, True]:
                    if karras and sampler in ("ddim", "euler_ancestral"):
                        continue
                    if name != "stable_diffusion" and (karras or sampler == "euler_ancestral"):
                        continue
                    for steps in STEPS:
                        if name != "stable_diffusion" and steps not in (1, 5, 12):
                            continue
                        more = {"timestep_spacing": spacing, "steps_offset": offset}
                        if karras:
                            more["use_karras_sigmas"] = True
                        scheduler = scheduler_for(sampler, betas(name, **more))
                        timesteps, sigmas = grid(sampler, scheduler, steps)
                        rows.append(
                            {
                                "schedule": name,
                                "sampler": sampler,
                                "spacing": spacing,
                                "offset": offset,
                                "karras": karras,
                                "steps": steps,
                                "timesteps": digits(timesteps),
                                "sigmas": digits(sigmas),
                                "init_noise_sigma": float(scheduler.init_noise_sigma),
                            }
                        )
    return rows


SVD = dict(
    beta_schedule="scaled_linear",
    beta_start=0.00085,
    beta_end=0.012,
    interpolation_type="linear",
    prediction_type="v_prediction",
    sigma_max=700.0,
    sigma_min=0.002,
    steps_offset=1,
    timestep_spacing="leading",
    timestep_type="continuous",
    use_karras_sigmas=True,
)


def edm_rows():
    rows = []
    for steps in STEPS + [30]:
        scheduler = EulerDiscreteScheduler(**SVD)
        scheduler.set_timesteps(steps)
        rows.append(
            {
                "steps": steps,
                "timesteps": digits(scheduler.timesteps.double().tolist()),
                "sigmas": digits(scheduler.sigmas.double().tolist()),
                "init_noise_sigma": float(scheduler.init_noise_sigma),
            }
        )
    return rows


# --- samplers --------------------------------------------------------------------------------


def network(sample, timestep, scale):
    """A stand-in for a network: smooth, not linear, and dependent on the timestep."""
    timestep = float(timestep)
    return (
        torch.tanh(0.7 * sample + 0.05 * timestep * scale) * (1.0 + 0.2 * math.sin(timestep * scale))
        + 0.3 * sample
    )


def trajectory(case):
    torch.manual_seed(0)
    sampler, steps = case["sampler"], case["steps"]
    scheduler = scheduler_for(sampler, case["config"])
    scheduler.set_timesteps(steps)
    shape = [1, 2, 1, 2, 3]
    noise = torch.randn(shape)
    count = len(scheduler.timesteps)
    step_noise = [torch.randn(shape) for _ in range(steps)]
    sample = noise * scheduler.init_noise_sigma
    latents = []
    for index, timestep in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(sample, timestep)
        output = network(scaled, timestep, case["scale"])
        if sampler == "ddim":
            extra = {"eta": case["eta"]}
            if case["eta"] > 0:
                extra["variance_noise"] = step_noise[index]
            sample = scheduler.step(output, timestep, sample, **extra).prev_sample
        elif sampler == "euler_ancestral":
            module = diffusers.schedulers.scheduling_euler_ancestral_discrete
            original = module.randn_tensor
            module.randn_tensor = lambda *a, **k: step_noise[index]
            sample = scheduler.step(output, timestep, sample).prev_sample
            module.randn_tensor = original
        else:
            sample = scheduler.step(output, timestep, sample).prev_sample
        whole_step = sampler != "heun" or index == count - 1 or scheduler.state_in_first_order
        if whole_step:
            # In the variance-preserving variable, as models read it.
            if sampler in ("ddim", "dpmpp_2m"):
                latents.append(sample)
            else:
                sigma = scheduler.sigmas[scheduler.step_index]
                latents.append(sample / (sigma**2 + 1) ** 0.5)
    assert len(latents) == steps, (sampler, len(latents), steps)
    flat = lambda t: digits(t.flatten())
    return {
        **{k: v for k, v in case.items()},
        "shape": shape,
        "initial_noise": flat(noise),
        "step_noise": [flat(n) for n in step_noise] if case["stochastic"] else [],
        "latents": [flat(x) for x in latents],
    }


def sampler_cases():
    sd = betas("stable_diffusion")

    def case(sampler, steps, prediction="epsilon", eta=0.0, stochastic=False, **config):
        merged = {**sd, "prediction_type": prediction, **config}
        scale = 0.002 if merged.get("timestep_type") != "continuous" else 1.0
        return {
            "sampler": sampler,
            "steps": steps,
            "eta": eta,
            "stochastic": stochastic,
            "scale": scale,
            "config": merged,
        }

    leading = {"timestep_spacing": "leading", "steps_offset": 1}
    cases = []
    for prediction in ["epsilon", "v_prediction", "sample"]:
        cases.append(case("ddim", 10, prediction, set_alpha_to_one=False, **leading))
        cases.append(case("ddim", 7, prediction, set_alpha_to_one=True, **leading))
        cases.append(
            case("ddim", 10, prediction, eta=1.0, stochastic=True, set_alpha_to_one=False, **leading)
        )
    cases.append(case("ddim", 10, eta=0.3, stochastic=True, set_alpha_to_one=True, **leading))
    cases.append(case("ddim", 10, "v_prediction", timestep_spacing="trailing"))
    cases.append(case("ddim", 8, set_alpha_to_one=False, timestep_spacing="leading"))
    for spacing in [{"timestep_spacing": "linspace"}, {"timestep_spacing": "trailing"}, leading]:
        for prediction in ["epsilon", "v_prediction"]:
            cases.append(case("euler", 9, prediction, **spacing))
            cases.append(case("euler_ancestral", 9, prediction, stochastic=True, **spacing))
            cases.append(case("heun", 6, prediction, **spacing))
            cases.append(case("dpmpp_2m", 9, prediction, **spacing))
    cases.append(case("euler", 9, use_karras_sigmas=True, **leading))
    cases.append(case("heun", 6, use_karras_sigmas=True, **leading))
    cases.append(case("dpmpp_2m", 16, use_karras_sigmas=True))
    cases.append(case("dpmpp_2m", 20))
    cases.append(case("dpmpp_2m", 9, final_sigmas_type="sigma_min"))
    cases.append(case("dpmpp_2m", 16, final_sigmas_type="sigma_min"))
    cases.append(case("dpmpp_2m", 1))
    cases.append(case("dpmpp_2m", 2))
    cases.append(case("heun", 1, timestep_spacing="trailing"))
    svd = {key: value for key, value in SVD.items() if key != "prediction_type"}
    cases.append(case("euler", 10, "v_prediction", **svd))
    return [trajectory(c) for c in cases]


# --- noise -----------------------------------------------------------------------------------


def chacha8_words(key, stream, count):
    def rotate(v, n):
        return ((v << n) | (v >> (32 - n))) & 0xFFFFFFFF

    words = []
    counter = 0
    constants = struct.unpack("<4I", b"expand 32-byte k")
    while len(words) < count:
        start = [*constants, *struct.unpack("<8I", key)]
        start += [counter & 0xFFFFFFFF, counter >> 32, stream & 0xFFFFFFFF, stream >> 32]
        state = list(start)

        def quarter(a, b, c, d):
            for x, y, z, n in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)]:
                state[x] = (state[x] + state[y]) & 0xFFFFFFFF
                state[z] = rotate(state[z] ^ state[x], n)

        for _ in range(4):
            for i in range(4):
                quarter(i, 4 + i, 8 + i, 12 + i)
            for i in range(4):
                quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
        words += [(a + b) & 0xFFFFFFFF for a, b in zip(state, start)]
        counter += 1
    return words[:count]


def noise_rows():
    rows = []
    for seed, stage, draw, frame in [
        (0, 2, (0, 0), 0),
        (0, 2, (0, 0), 1),
        (1, 2, (0, 0), 0),
        (0, 6, (0, 0), 0),
        (0, 2, (1, 0), 0),
        (0, 2, (1, 24), 0),
        (0, 2, (2, 0), 0),
        (2**64 - 1, 5, (1, 7), 2**40 + 3),
    ]:
        key = struct.pack("<QIIII", seed, stage, draw[0], draw[1], 0) + b"vldm/01\0"
        words = chacha8_words(key, frame, 200)
        normals = []
        for first, second in zip(words[0::2], words[1::2]):
            radius = math.sqrt(-2.0 * math.log((first + 1) / 2**32))
            angle = math.tau * (second / 2**32)
            normals += [radius * math.cos(angle), radius * math.sin(angle)]
        rows.append(
            {
                "seed": str(seed),
                "stage": stage,
                "draw": draw,
                "frame": frame,
                "normal": digits(np.float32(normals[:6] + normals[-6:])),
            }
        )
    return rows


def write(name, value):
    path = HERE / name

    def listed(rows):
        if not isinstance(rows, list):
            return json.dumps(rows)
        return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"

    lines = ",\n".join(f'"{key}": {listed(rows)}' for key, rows in value.items())
    path.write_text("{\n" + lines + "\n}\n")
    print(name, path.stat().st_size)


if __name__ == "__main__":
    made_by = f"diffusers {diffusers.__version__}, tests/golden/export.py"
    write("schedules.json", {"made_by": made_by, "tables": tables(), "grids": schedule_rows(), "edm": edm_rows()})
    write("samplers.json", {"made_by": made_by, "cases": sampler_cases()})
    write("noise.json", {"made_by": "tests/golden/export.py", "cases": noise_rows()})
