#!/usr/bin/env python3
"""Times the same networks in PyTorch with diffusers and in vldm, in turn, and prints the ratios.

For each row the fastest way to run PyTorch is looked for first: eager, channels last, compiled with
frozen weights, both. It then takes turns with vldm, so that what else happens on the machine meets
both. PyTorch lives in one process per network, which waits while vldm runs; imports, building
and compiling are outside the times on either side, and so is one run before each turn.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGES = ["diffusers==0.42.1", "transformers==5.23.0", "numpy"]
TORCH_FOR_CPU = "https://download.pytorch.org/whl/cpu"
FLAGS = ["avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16"]
INFERENCE = ["eager", "channels-last", "compile", "channels-last+compile"]
TRAINING = ["eager", "channels-last", "compile"]

FULL = {"width": 512, "height": 320}
SMALL = {"width": 256, "height": 128}
QUICK = {"width": 128, "height": 64}

# name: (title, preset and part for vldm, sizes for both)
ROWS = {
    "unet": ("SD 1.5 U-Net, batch 2", ["sd15"], {**FULL, "batch": 2}),
    "unet-video": ("SVD U-Net, 8 frames", ["svd"], {**FULL, "frames": 8}),
    "vae-decode": ("SD decoder", ["sd15", "--part", "vae-decode"], {**FULL, "batch": 1}),
    "vae-decode-video": (
        "SVD decoder, 8 frames",
        ["svd", "--part", "vae-decode"],
        {**FULL, "frames": 8},
    ),
    "text": ("SD 1.5 text encoder, batch 2", ["sd15", "--part", "text"], {"batch": 2}),
    "train": (
        "training, 40 M U-Net, batch 8",
        ["bench-train", "--part", "train"],
        {**SMALL, "batch": 8},
    ),
    "train-video": (
        "training, its temporal layers, 8 frames",
        ["bench-train-video", "--part", "train"],
        {**SMALL, "frames": 8},
    ),
}


class Worker:
    """A PyTorch process that holds one network."""

    def __init__(self, python):
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, **request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return {"error": f"the process ended with status {self.process.wait()}"}
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    arguments = parse()
    if not arguments.vldm.is_file():
        sys.exit(f"{arguments.vldm} is not there: run `cargo build --release`, or give --vldm PATH")
    with environment(arguments.venv) as python:
        results = {}
        for name in arguments.rows:
            note(f"{name}: {ROWS[name][0]}")
            try:
                results[name] = compare(name, python, arguments)
            except RuntimeError as error:
                note(f"  {error}")
                results[name] = None
        print(report(results, arguments))
    if None in results.values():
        sys.exit(1)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)}; all unless given"
    )
    parser.add_argument("--vldm", type=Path, default=ROOT / "target/release/vldm", help="the program")
    parser.add_argument("--venv", type=Path, help="environment to use, made where it is not there; without it one is made and thrown away")
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--threads", type=int, default=available(), help="on both sides")
    parser.add_argument("--turns", type=int, default=5, help="turns of each side (5)")
    parser.add_argument("--runs", type=int, default=3, help="timed runs in a turn (3)")
    parser.add_argument("--variants", help=f"of PyTorch, with commas between: {', '.join(INFERENCE)}")
    parser.add_argument("--quick", action="store_true", help="64×128 pixels, one turn of one run, eager: to see that it works")
    arguments = parser.parse_args()
    unknown = [row for row in arguments.rows if row not in ROWS]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; expected {', '.join(ROWS)}")
    arguments.rows = arguments.rows or list(ROWS)
    chosen = arguments.variants.split(",") if arguments.variants else None
    if chosen and not set(chosen) <= set(INFERENCE):
        parser.error(f"--variants {arguments.variants}: expected some of {', '.join(INFERENCE)}")
    if arguments.quick:
        arguments.turns, arguments.runs, chosen = 1, 1, chosen or ["eager"]
    arguments.variants = chosen
    return arguments


def available():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def environment(folder):
    """The Python of an environment with PyTorch and diffusers."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vldm-peer-")))
            install(folder)
        elif not python_in(folder).exists():
            install(folder)
        yield python_in(folder)


def python_in(folder):
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install(folder):
    note(f"installing PyTorch and diffusers into {folder}")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python_in(folder)), "-m", "pip", "install", "--quiet"]
    # The builds for the CPU alone are smaller; where that index is not reachable, the usual ones do.
    if subprocess.run([*pip, "torch", "--index-url", TORCH_FOR_CPU]).returncode != 0:
        subprocess.run([*pip, "torch"], check=True)
    subprocess.run([*pip, *PACKAGES], check=True)


def compare(name, python, arguments):
    title, command, size = ROWS[name]
    if arguments.quick and "width" in size:
        size = {**size, **QUICK}
    variants = TRAINING if name.startswith("train") else INFERENCE
    variants = [v for v in variants if arguments.variants is None or v in arguments.variants]
    variant, worker, built = fastest(name, size, variants, (python, arguments))
    try:
        pairs = []
        for turn in range(arguments.turns):
            theirs = checked(worker.ask(command="time", runs=arguments.runs))
            ours = run_vldm(command, size, arguments)
            note(f"  turn {turn + 1}: {theirs['median_seconds']:.4g} s and {ours['median_seconds']:.4g} s")
            pairs.append((theirs, ours))
    finally:
        worker.close()
    same_network(name, built, ours)
    return {"title": title, "variant": variant, "versions": built["versions"], "pairs": pairs, "size": size}


def fastest(name, size, variants, context):
    """The variant of the least median, with its process, which is kept."""
    python, arguments = context
    best = None
    for variant in variants:
        worker = Worker(python)
        built = worker.ask(command="build", network=name, variant=variant, dtype=arguments.dtype, threads=arguments.threads, **size)
        answer = built if "error" in built else worker.ask(command="time", runs=arguments.runs)
        if "error" in answer:
            note(f"  PyTorch, {variant}: {answer['error']}")
            worker.close()
            continue
        seconds = answer["median_seconds"]
        note(f"  PyTorch, {variant}: {seconds:.4g} s")
        if best and best[0] <= seconds:
            worker.close()
            continue
        if best:
            best[2].close()
        best = (seconds, variant, worker, built)
    if best is None:
        raise RuntimeError("no variant of PyTorch runs")
    return best[1:]


def run_vldm(command, size, arguments):
    options = [f"--{name}={value}" for name, value in size.items()]
    line = [str(arguments.vldm), "bench", *command, *options, "--json", f"--runs={arguments.runs}", f"--threads={arguments.threads}", f"--dtype={arguments.dtype}"]
    answer = subprocess.run(line, capture_output=True, text=True)
    if answer.returncode != 0:
        raise RuntimeError(f"{' '.join(line)}: {answer.stderr.strip()}")
    return json.loads(answer.stdout)


def checked(answer):
    if "error" in answer:
        raise RuntimeError(f"PyTorch: {answer['error']}")
    return answer


def same_network(name, theirs, ours):
    """What is compared has the same number of parameters; in training, of those that learn."""
    key = "trained_parameters" if name.startswith("train") else "parameters"
    if theirs[key] != ours[key]:
        raise RuntimeError(f"{key}: {theirs[key]} in PyTorch, {ours[key]} in vldm: not the same network")


def report(results, arguments):
    lines = [*machine(results, arguments), ""]
    lines.append("| what | TFLOP | PyTorch | vldm | vldm is so many times as fast | memory, PyTorch | memory, vldm |")
    lines.append("|---|---|---|---|---|---|---|")
    for name, result in results.items():
        lines.append(row(result) if result else f"| {ROWS[name][0]} | failed | | | | | |")
    return "\n".join(lines)


def row(result):
    theirs, ours = zip(*result["pairs"])
    median = lambda side: statistics.median(run["median_seconds"] for run in side)
    memory = lambda side: max((run["peak_memory_bytes"] or 0) for run in side) / 1e9
    ratios = [a["median_seconds"] / b["median_seconds"] for a, b in result["pairs"]]
    size = result["size"]
    pixels = f", {size['height']}×{size['width']}" if "width" in size else ""
    cells = [
        result["title"] + pixels,
        f"{ours[0]['tflop']:.3g}",
        f"{median(theirs):.3g} s ({result['variant']})",
        f"{median(ours):.3g} s",
        f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})",
        f"{memory(theirs):.2f} GB",
        f"{memory(ours):.2f} GB",
    ]
    return f"| {' | '.join(cells)} |"


def machine(results, arguments):
    name, flags = processor()
    done = next((result for result in results.values() if result), None)
    versions = {} if done is None else dict(done["versions"], vldm=done["pairs"][0][1]["version"])
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    yield f"- processor: {name}, {available()} logical processors, {arguments.threads} threads used; {' '.join(flags) or 'no flags known'}"
    yield f"- memory: {memory_gib()}; system: {platform.system()} {platform.release()}, Python {platform.python_version()}"
    yield f"- {text}; {arguments.dtype}; medians of {arguments.turns} turns of {arguments.runs} runs each"


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), []
    facts = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    return facts.get("model name", platform.machine()), [flag for flag in FLAGS if flag in flags]


def memory_gib():
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (ValueError, OSError, AttributeError):
        return "unknown"


def note(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
