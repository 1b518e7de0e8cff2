"""What a packed model costs on a chip: `python -m frenchpress.hardware exp/x --chip chips/hcgs65.yaml`.

Prints cycles, microseconds, energy and memory of a frame, and where they go. With --simulate N the chip executes N
frames from its memories, word by word; the logits must be those of the runtime to the bit, and the cycles those of the
formulas. docs/hardware.md explains the chip's file and the columns.
"""

from __future__ import annotations

import argparse
import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from frenchpress.common import UserError, atomic_path, blaming, run_main
from frenchpress.hardware.chip import Chip, load_chip
from frenchpress.hardware.cost import FrameCost, frame_cost
from frenchpress.hardware.show import chip_text, cost_data, cost_text
from frenchpress.hardware.simulator.machine import Machine
from frenchpress.packed.format import read_model
from frenchpress.packed.memories import replay_memories
from frenchpress.packed.model import PackedModel
from frenchpress.packed.runtime import Runtime

_PACKED = "model.press"
_MOST_FRAMES = 10000


def find_model(place: Path) -> Path:
    """The packed model in the directory of an experiment, or the file itself; UserError where there is none."""
    if not place.is_dir():
        return place
    if not (place / _PACKED).is_file():
        raise UserError(f"{place}: no {_PACKED}; python -m frenchpress.export.pack {place} makes it")
    return place / _PACKED


def simulate(path: Path, model: PackedModel, chip: Chip, cost: FrameCost, frames: int) -> str:
    """Execute `frames` random frames on the chip; what came of it, in a line. UserError where bits differ."""
    feats, quantized, *_ = replay_memories(model, frames, 0, gates=False)
    machine = Machine(model, chip)
    logits = machine.run(quantized.numbers.reshape(frames, -1))
    expected = Runtime.load(path).logits(feats.numbers.reshape(frames, -1).astype(np.float32))
    if not np.array_equal(logits, expected):
        wrong = (logits != expected).sum()
        raise UserError(f"{path}: the simulator's logits differ from the runtime's in {wrong} places; a fault of ours")
    cycles = sum(machine.trace.cycles.values())
    off = 100 * abs(cost.cycles / cycles - 1)
    same = f"simulated {frames} frames: logits equal the runtime's to the bit"
    return f"{same}; {cycles} cycles a frame, from which the formulas differ by {off:.2f} %"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    help_ = "exp/x with a model.press in it, or a packed model; none: the chip alone is printed"
    parser.add_argument("model", type=Path, nargs="?", help=help_)
    parser.add_argument("--chip", type=Path, required=True, help="description of the chip, such as chips/hcgs65.yaml")
    parser.add_argument("--simulate", type=int, default=0, metavar="N", help="execute N frames too (default: none)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, unrounded, to FILE")
    args = parser.parse_args()
    if not 0 <= args.simulate <= _MOST_FRAMES:
        raise UserError(f"--simulate {args.simulate}: expected a number of frames up to {_MOST_FRAMES}")
    chip = load_chip(args.chip)
    if args.model is None:
        print(chip_text(chip), end="")
        return
    path = find_model(args.model)
    model = read_model(path)
    with blaming(path) if model.holds else nullcontext():
        cost = frame_cost(model, chip)
    print(cost_text(cost, str(args.model)), end="")
    if args.simulate:
        print("\n" + simulate(path, model, chip, cost, args.simulate))
    if args.json:
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps(cost_data(cost), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    run_main(main)
