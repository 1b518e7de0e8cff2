"""Training and inference speed of pressed LSTMs beside other programs' LSTMs, in one run, with ratios."""

from __future__ import annotations

import argparse

import torch

from frenchpress.bench.inference import run_inference
from frenchpress.bench.timing import machine
from frenchpress.bench.training import run_training
from frenchpress.common import UserError, run_main

PARTS = {"training": run_training, "inference": run_inference}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m frenchpress.bench", description=__doc__)
    parser.add_argument("--what", choices=(*PARTS, "all"), default="all", help="what is timed (default: all)")
    sizes = (
        ("batch", 8, "training: sequences"),
        ("steps", 300, "training: frames per sequence"),
        ("frames", 1000, "inference: frames of a whole utterance"),
        ("stream-frames", 200, "inference: frames given one by one"),
        ("inputs", 440, "inputs of the first layer"),
        ("cells", 512, "cells per layer"),
        ("layers", 2, "layers"),
        ("repeats", 9, "rounds; the median counts"),
    )
    others = ("threads", 0, "training: threads of torch (0: as it chooses)"), ("seed", 2234, "of weights, masks, data")
    for name, default, help_ in (*sizes, *others):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{help_} (default: {default})")
    parser.add_argument("--quick", action="store_true", help="3 rounds of few frames: does it run, not how fast")
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
    for run in PARTS.values() if args.what == "all" else (PARTS[args.what],):
        run(args)


if __name__ == "__main__":
    run_main(main)
