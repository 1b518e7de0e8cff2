"""Training and inference speed of compressed LSTMs beside other programs' LSTMs, and how its cost grows, in one run."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from frenchpress.bench.compiler import run_compiler, run_density
from frenchpress.bench.growth import run_growth
from frenchpress.bench.inference import CLOCKS, run_inference
from frenchpress.bench.movement import run_lists, run_movement
from frenchpress.bench.timing import machine
from frenchpress.bench.training import run_training
from frenchpress.common import UserError, run_main

SPEED = {"training": run_training, "inference": run_inference}
PARTS = {**SPEED, "growth": run_growth, "movement": run_movement}
COMPILED = {"compiler": run_compiler, "density": run_density, "lists": run_lists}
"""Only with TVM, and so not among all."""
GROUPS = {"speed": SPEED.values(), "all": PARTS.values()}
_WHAT = "what is timed (default: speed, which is training and inference)"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=(*PARTS, *COMPILED, *GROUPS), default="speed", help=_WHAT)
    parser.add_argument("--plot-dir", type=Path, help="growth, density: directory for plots")
    sizes = (
        ("batch", 8, "training: sequences"),
        ("steps", 300, "training: frames per sequence"),
        ("frames", 1000, "inference, movement, lists, compiler, growth: frames of a whole utterance"),
        ("stream-frames", 200, "the same, and density: frames given one by one"),
        ("inputs", 440, "inputs of the first layer"),
        ("cells", 512, "cells per layer"),
        ("layers", 2, "layers"),
        ("repeats", 9, "rounds; the median counts"),
    )
    others = ("threads", 0, "training: threads of torch (0: as it chooses)"), ("seed", 2234, "of weights, masks, data")
    for name, default, help_ in (*sizes, *others):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{help_} (default: {default})")
    clocks = "where models run: seconds that pass (default), or of the processor on one thread, for a busy machine"
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help=clocks)
    parser.add_argument("--quick", action="store_true", help="few rounds, frames and sizes: does it run, not how fast")
    args = parser.parse_args()
    if args.quick:
        args.repeats, args.steps, args.frames, args.stream_frames = 3, 50, 50, 10
    for name, *_ in sizes:
        value = getattr(args, name.replace("-", "_"))
        if value < 1:
            raise UserError(f"--{name}: {value} must be at least 1")
    return args


def main() -> None:
    """Run the benchmark and print its tables."""
    args = _arguments()
    if args.threads > 0:
        torch.set_num_threads(args.threads)
    print("  ".join(f"{key}: {value}" for key, value in machine().items()))
    print(f"{args.inputs} inputs, {args.layers} x {args.cells} cells")
    for run in GROUPS.get(args.what) or ({**PARTS, **COMPILED}[args.what],):
        run(args)


if __name__ == "__main__":
    run_main(main)
