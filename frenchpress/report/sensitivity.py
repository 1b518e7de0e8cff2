"""Which matrix needs its weights most: `frenchpress sensitivity exp/<name>`.

Removes the smallest weights of one matrix at a time from a trained model, trains nothing, and compares the loss on dev
with that of the whole model. The cost of a thousand removed weights, matrix by matrix, says where a model with the same
number of weights should have more of them, and where fewer (docs/structures.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

import torch

from frenchpress.arguments import parse
from frenchpress.common import run_main
from frenchpress.common.progress import progress
from frenchpress.compress import PressedWeight
from frenchpress.nnet.data import Frames
from frenchpress.nnet.losses import evaluate
from frenchpress.nnet.model import AcousticModel
from frenchpress.report.experiment import model_and_task
from frenchpress.report.markdown import markdown


@dataclass(frozen=True)
class Sensitivity:
    """What a model loses with fewer weights in one matrix.

    `kept`: weights it has; `removed`: of these, for each share; `losses`: by how much the dev loss per frame rises.
    """

    matrix: str
    kept: int
    removed: list[int]
    losses: list[float]


@contextmanager
def only_largest(matrix: PressedWeight, number: int) -> Iterator[None]:
    """Let `matrix` keep only so many weights for a while, the largest of those that it has. By its mask: there are
    quantizers that round zero to another number.
    """
    size, mask = matrix.weight.detach().abs(), matrix.full_mask()
    if mask is not None:
        size = size.masked_fill(~mask, -1.0)
    kept = torch.zeros(size.numel(), dtype=torch.bool, device=size.device)
    kept[size.flatten().topk(number).indices] = True
    before, matrix.mask = matrix.mask, kept.view(size.shape)
    try:
        yield
    finally:
        matrix.mask = before


def sensitivities(model: AcousticModel, frames: Frames, keeps: list[Fraction]) -> Iterator[Sensitivity]:
    """Each matrix of `model` in turn with `keeps` of its weights, the others whole."""
    whole, _, _ = evaluate(model, frames)
    matrices = [(name, m) for name, m in model.named_modules() if isinstance(m, PressedWeight)]
    for name, matrix in progress(matrices, "each matrix with fewer weights"):
        mask = matrix.full_mask()
        kept = matrix.weight.numel() if mask is None else int(mask.sum())
        numbers = [max(1, round(keep * kept)) for keep in keeps]
        losses = []
        for number in numbers:
            with only_largest(matrix, number):
                losses.append(evaluate(model, frames)[0] - whole)
        yield Sensitivity(name, kept, [kept - number for number in numbers], losses)


def main() -> None:
    """Command line."""
    arguments = parse("sensitivity")
    model, task = model_and_task(arguments.experiment, arguments.task)
    frames = Frames(islice(task.split("dev"), 0, None, arguments.every))
    head = ["matrix", "weights", *(f"{part} kept" for keep in arguments.keep for part in (keep, f"per 1000, {keep}"))]
    rows = []
    for found in sensitivities(model, frames, arguments.keep):
        cells = [found.matrix, str(found.kept)]
        for removed, loss in zip(found.removed, found.losses):
            cells += [f"{loss:+.3f}", f"{1000 * loss / max(removed, 1):+.5f}"]
        rows.append(cells)
    print(f"Rise of the loss on dev ({len(frames.lengths)} utterances, {len(frames)} frames)\n")
    print(*markdown(head, rows), sep="\n")


if __name__ == "__main__":
    run_main(main)
