"""Which matrix needs its weights most: `python -m frenchpress.report.sensitivity exp/<name>`.

The smallest weights of one matrix after the other are taken out of a trained model, which is not trained again, and the
loss on dev is set beside that of the whole model. What removing a thousand weights costs, matrix by matrix, says where
a model of as many weights in all should have more of them, and where fewer (docs/structures.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import torch

from frenchpress.common import UserError, run_main
from frenchpress.compress import PressedWeight
from frenchpress.nnet.data import Frames
from frenchpress.nnet.model import AcousticModel, Sizes, load_model
from frenchpress.nnet.task import Task
from frenchpress.nnet.train import evaluate
from frenchpress.report.table import markdown


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
def smallest_removed(matrix: PressedWeight, keep: Fraction) -> Iterator[int]:
    """Let only the largest `keep` of the weights that `matrix` keeps be other than zero; yields how many it removed."""
    whole = matrix.weight.detach().clone()
    mask = matrix.full_mask()
    size = whole.abs() if mask is None else whole.abs().masked_fill(~mask, -1.0)
    kept = whole.numel() if mask is None else int(mask.sum())
    stay = max(1, round(keep * kept))
    largest = size.flatten().topk(stay).indices
    thinned = torch.zeros_like(whole).flatten()
    thinned[largest] = whole.flatten()[largest]
    with torch.no_grad():
        matrix.weight.copy_(thinned.view_as(whole))
        try:
            yield kept - stay
        finally:
            matrix.weight.copy_(whole)


def sensitivities(model: AcousticModel, frames: Frames, keeps: list[Fraction]) -> Iterator[Sensitivity]:
    """Each matrix of `model` in turn with `keeps` of its weights, the others whole."""
    whole, _, _ = evaluate(model, frames)
    for name, matrix in model.named_modules():
        if isinstance(matrix, PressedWeight):
            removed, losses = [], []
            for keep in keeps:
                with smallest_removed(matrix, keep) as number:
                    losses.append(evaluate(model, frames)[0] - whole)
                removed.append(number)
            mask = matrix.full_mask()
            kept = matrix.weight.numel() if mask is None else int(mask.sum())
            yield Sensitivity(name, kept, removed, losses)


def share(text: str) -> Fraction:
    """A share of weights between 0 and 1, such as 1/4; argparse's error for anything else."""
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share of weights between 0 and 1, such as 1/4")
    return value


def number(text: str) -> int:
    """A number from one on; argparse's error for anything else."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Dev loss with fewer weights in one matrix at a time, not retrained.")
    parser.add_argument("--task", type=Path, help="the task (the one it was trained on)")
    parser.add_argument("--keep", type=share, nargs="+", default=[Fraction(3, 5)], help="shares to keep (3/5)")
    parser.add_argument("--every", type=number, default=1, metavar="N", help="only each N-th utterance of dev (1)")
    parser.add_argument("experiment", type=Path, help="exp/<name>, trained")
    arguments = parser.parse_args()
    model = load_model(arguments.experiment)
    task = Task.of(arguments.experiment, arguments.task)
    if Sizes(task.feat_dim, task.num_pdfs, task.num_phones) != model.sizes:
        raise UserError(f"{task.path}: not the task of {arguments.experiment}: other features, tied states or phones")
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
