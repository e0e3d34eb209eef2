#!/usr/bin/env python3
"""Tests the paper's findings on the driving world: trains the arms of each comparison, samples from
them, measures, and prints a table.

    cargo build --release
    python3 benches/findings/run.py WORK [FINDING ...] [--count 256] [--seeds 3] [--threads 1]

WORK keeps every run, sample and number; what is there is not made again, so the command goes on where
it was stopped. Run it from the repository's root. The comparisons and what they are for stand in
README.md.
"""

import argparse
import json
import shutil
import statistics
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHIPPED = Path("assets/default")
# Where a recipe's latents are kept; those of one folder are encoded with the same text encoder, or none.
CACHES = {
    "temporal": "clips",
    "attention-only": "clips",
    "pretrained": "clips-pretrained",
    "end-to-end": "clips-pretrained",
    "image": "pictures",
}
STAGES = {"image": "image", "pixels": "image", "decoder-video": "decoder", "decoder-image": "decoder"}
HELD_OUT = 900002
KEY_FRAMES = ["--frames", "8", "--fps", "1.875"]


class Bench:
    def __init__(self, args):
        self.work, self.count, self.threads = args.work, args.count, str(args.threads)
        self.seeds = range(1, args.seeds + 1)
        self.vldm_path, self.autoencoder = args.vldm, args.autoencoder

    def vldm(self, *arguments, threads=True):
        command = [self.vldm_path, *map(str, arguments)]
        if threads:
            command += ["--threads", self.threads]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
        return done.stdout

    def once(self, name, make):
        """What `make` returns, from a file if it was made before."""
        path = self.work / "numbers" / f"{name}.json"
        if not path.exists():
            value = make()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
        return json.loads(path.read_text())

    # Arms.

    def trained(self, name, seed, image=None):
        """The model that a recipe makes."""
        run = self.work / "runs" / f"{name}-{seed}"
        if not (run / "done").exists():
            text = (HERE / "recipes" / f"{name}.toml").read_text()
            text = text.replace("seed = SEED", f"seed = {seed}").replace("IMAGE", str(image))
            text = text.replace("AUTOENCODER", str(self.autoencoder))
            cache = self.work / "cache" / CACHES.get(name, name)
            text = text.replace('"CACHE"', f'"{cache.resolve()}"')
            recipe = self.work / "recipes" / f"{name}-{seed}.toml"
            recipe.parent.mkdir(parents=True, exist_ok=True)
            recipe.write_text(text)
            if name in CACHES:
                self.vldm("data", "encode", recipe, "--store", "f16", "--dtype", "bf16", "-o", cache)
            begun = ["--resume"] if (run / "checkpoints").exists() else []
            self.vldm("train", STAGES.get(name, "temporal"), recipe, "-o", run, *begun)
            (run / "done").touch()
        return max((run / "checkpoints").glob("step-*"))

    def minutes(self, name, seed):
        lines = (self.work / "runs" / f"{name}-{seed}" / "metrics.jsonl").read_text().splitlines()
        return max(json.loads(line).get("seconds", 0) for line in lines) / 60

    def stack(self, name, change):
        """The stack that ships, with a change to its stack.toml."""
        stack = self.work / "stacks" / name
        if not stack.exists():
            shutil.copytree(SHIPPED, stack)
            config = stack / "stack.toml"
            config.write_text(change(config.read_text(), stack))
        return stack

    # Sets of clips.

    def samples(self, name, seed, *arguments, ending="mp4", count=None):
        """One sample like each of the held-out worlds."""
        folder = self.work / "samples" / f"{name}-{seed}"
        if not (folder / "metadata.jsonl").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            # fmt: off
            self.vldm("generate", *arguments, "--like", f"world:{HELD_OUT}",
                      "--count", count or self.count, "--seed", seed * 1_000_000,
                      "--disable-metadata", "-o", folder / f"clip.{ending}")
            # fmt: on
        return folder

    def key_frames(self, name, seed, model, *more):
        sampling = ["--steps", 10, "--sampler", "ddim", "--guidance-scale", 2.5]
        return self.samples(name, seed, "--model", model, *KEY_FRAMES, *sampling, *more)

    def distance(self, metric, folder, fps=1.875, frames=8):
        """To other worlds than those that the samples are like."""

        def measure():
            # fmt: off
            text = self.vldm("evaluate", metric, folder, f"world:{HELD_OUT + 1}", "--json",
                             "--count", self.count, "--frames", frames, "--fps", fps)
            # fmt: on
            found = json.loads(text)["result"]["distance"]
            return [found["value"], found["low"], found["high"]]

        return self.once(f"{metric}-{folder.name}", measure)

    def true_clips(self, name, width, seconds=1):
        count = min(32, self.count)
        folder = self.work / "truth" / name
        if not (folder / "metadata.jsonl").exists():
            shutil.rmtree(folder, ignore_errors=True)
            # fmt: off
            self.vldm("data", "world", "--clips", count, "--out", folder, "--seed", HELD_OUT,
                      "--seconds", seconds, "--fps", 30, "--width", width, "--height", width // 2,
                      threads=False)
            # fmt: on
        return sorted(folder.glob("*.mp4"))

    def against_truth(self, name, truth, make):
        """PSNR and the error of changes of what `make(clip, path)` makes, over all clips."""

        def measure():
            found = []
            for clip in truth:
                made = self.work / "made" / name / clip.name
                made.parent.mkdir(parents=True, exist_ok=True)
                make(clip, made)
                text = self.vldm("evaluate", "pixels", clip, made, "--json", threads=False)
                found.append(json.loads(text))
            mean = lambda key: statistics.mean(one[key] for one in found)
            return [mean("psnr"), mean("frame_difference_error")]

        return self.once(f"pixels-{name}", measure)


# Changes to stack.toml.


def without_key_frame_layers(text, _stack):
    line = 'temporal = "temporal/key_frames.safetensors"\n'
    return replaced(text, line, "")


def without_upsampler_layers(text, stack):
    shutil.rmtree(stack / "upsampler" / "temporal")
    return text


DECODER_LAYERS = Path("model") / "temporal" / "decoder.safetensors"


def copy_autoencoder(model, stack):
    shutil.rmtree(stack / "model" / "vae")
    shutil.copytree(model / "vae", stack / "model" / "vae")


def with_autoencoder(model):
    """The decoder as it was before it was tuned over time."""

    def change(text, stack):
        (stack / DECODER_LAYERS).unlink()
        copy_autoencoder(model, stack)
        return text

    return change


def with_decoder(model):
    """A decoder with its temporal layers, as a run of the stage `decoder` leaves it."""

    def change(text, stack):
        copy_autoencoder(model, stack)
        shutil.copyfile(model / "temporal" / "decoder.safetensors", stack / DECODER_LAYERS)
        return text

    return change


def replaced(text, old, new):
    if old not in text:
        raise SystemExit(f"assets/default/stack.toml has no {old!r}: the comparison needs it")
    return text.replace(old, new)


def without_guidance(stage):
    def change(text, _stack):
        start = text.index(f"[{stage}.usual.guidance]")
        end = text.find("\n\n", start)
        end = len(text) if end < 0 else end
        return text[:start] + f'[{stage}.usual.guidance]\ntype = "none"' + text[end:]

    return change


# Findings: each returns rows (arm, metric, [values by seed]).


def temporal(bench):
    alone = bench.stack("frame-by-frame", without_key_frame_layers)
    arms = {"temporal layers": SHIPPED, "image model, frame by frame": alone}
    more = ["--until", "key-frames"]
    for arm, model in arms.items():
        sets = [bench.key_frames(arm.split()[0], seed, model, *more) for seed in bench.seeds]
        yield arm, "video distance", [bench.distance("fvd", one) for one in sets]
        yield arm, "distance of frames", [bench.distance("fid", one, frames=1) for one in sets]


def attention(bench):
    for arm, recipe in {"with convolutions": "temporal", "attention only": "attention-only"}.items():
        sets = [bench.key_frames(recipe, s, bench.trained(recipe, s)) for s in bench.seeds]
        yield arm, "video distance", [bench.distance("fvd", one) for one in sets]


def pretrained(bench):
    def images_first(seed):
        return bench.trained("pretrained", seed, bench.trained("image", seed))

    arms = {"pre-trained images": images_first, "end to end": lambda s: bench.trained("end-to-end", s)}
    for arm, model in arms.items():
        sets = [bench.key_frames(arm.split()[0], s, model(s)) for s in bench.seeds]
        yield arm, "video distance", [bench.distance("fvd", one) for one in sets]
    first = [bench.minutes("image", s) + bench.minutes("pretrained", s) for s in bench.seeds]
    yield "pre-trained images", "minutes of training", first
    yield "end to end", "minutes of training", [bench.minutes("end-to-end", s) for s in bench.seeds]


def guidance(bench):
    plain = bench.stack("no-context-guidance", without_guidance("prediction"))
    for arm, model in {"context guidance": SHIPPED, "no guidance": plain}.items():
        values = []
        for seed in bench.seeds:
            folder = bench.work / "rollouts" / f"{arm.split()[0]}-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(16):
                clip = folder / f"{number}.mp4"
                if not clip.exists():
                    start = ["--seed", seed * 1000 + number, "--seconds", 20]
                    bench.vldm("drive", "--model", model, *start, "-o", clip)
            values.append(bench.distance("fvd", folder, fps=7.5))
        yield arm, "video distance around second 10", values


def decoder(bench):
    truth = bench.true_clips("small", 128)
    arms = {
        "per frame": bench.stack("decoder-per-frame", with_autoencoder(bench.autoencoder)),
        "fine-tuned over time": SHIPPED,
    }
    yield from decoded(bench, truth, {arm: [model] for arm, model in arms.items()})


def discriminator(bench):
    truth = bench.true_clips("small", 128)
    arms = {}
    for arm, recipe in {"of clips": "decoder-video", "of frames": "decoder-image"}.items():
        models = [bench.trained(recipe, seed) for seed in bench.seeds]
        arms[arm] = [bench.stack(f"{recipe}-{s}", with_decoder(m)) for s, m in zip(bench.seeds, models)]
    yield from decoded(bench, truth, arms)


def decoded(bench, truth, arms):
    for arm, stacks in arms.items():
        found = []
        for stack in stacks:

            def make(clip, made):
                latents = made.with_suffix(".safetensors")
                bench.vldm("encode", clip, "--model", stack, "-o", latents)
                bench.vldm("decode", latents, "--model", stack, "--fps", 30, "-o", made)

            found.append(bench.against_truth(f"decoded-{stack.name}", truth, make))
        yield arm, "PSNR", [one[0] for one in found]
        yield arm, "error of changes", [one[1] for one in found]


def upsampler(bench):
    small, large = bench.true_clips("small", 128), bench.true_clips("large", 512)
    smaller = {clip.name: clip for clip in small}
    alone = bench.stack("upsampler-per-frame", without_upsampler_layers)
    for arm, stack in {"over time": SHIPPED, "per frame": alone}.items():

        def make(clip, made):
            bench.vldm("upsample", smaller[clip.name], "--model", stack, "-o", made)

        psnr, changes = bench.against_truth(f"upsampled-{stack.name}", large, make)
        yield arm, "PSNR", [psnr]
        yield arm, "error of changes", [changes]


def pixels(bench):
    sampling = ["--frames", 1, "--steps", 25, "--guidance-scale", 2.5]
    for arm, recipe in {"latents": "image", "pixels": "pixels"}.items():
        values = []
        for seed in bench.seeds:
            model = bench.trained(recipe, seed)
            made = bench.samples(arm, seed, "--model", model, *sampling, ending="png")
            values.append(bench.distance("fid", made, frames=1))
        yield arm, "distance of frames", values
        yield arm, "minutes of training", [bench.minutes(recipe, seed) for seed in bench.seeds]


FINDINGS = {
    "temporal": temporal,
    "attention": attention,
    "pretrained": pretrained,
    "guidance": guidance,
    "decoder": decoder,
    "discriminator": discriminator,
    "upsampler": upsampler,
    "pixels": pixels,
}


def shown(value):
    if isinstance(value, list):
        value, low, high = value
        return f"{value:.3f} ({low:.3f} to {high:.3f})"
    return f"{value:.4g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("findings", nargs="*", help=", ".join(FINDINGS))
    parser.add_argument("--count", type=int, default=256, help="samples of each arm")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--vldm", default="target/release/vldm")
    parser.add_argument(
        "--autoencoder",
        type=Path,
        default=Path("runs/world/autoencoder"),
        help="the run of docs/recipes/train/world/autoencoder.toml, or a model that it made",
    )
    args = parser.parse_args()
    made = sorted((args.autoencoder / "checkpoints").glob("step-*"))
    args.autoencoder = made[-1] if made else args.autoencoder
    unknown = set(args.findings) - set(FINDINGS)
    if unknown:
        parser.error(f"no finding is called {', '.join(unknown)}; expected {', '.join(FINDINGS)}")
    bench = Bench(args)
    print("| finding | arm | measured | by seed |\n|---|---|---|---|")
    for name in args.findings or FINDINGS:
        for arm, metric, values in FINDINGS[name](bench):
            print(f"| {name} | {arm} | {metric} | {', '.join(map(shown, values))} |", flush=True)


if __name__ == "__main__":
    main()
