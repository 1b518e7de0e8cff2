"""Is a `.cfg` sound, and how large is its model? `python -m frenchpress.nnet.check conf/*.cfg` says so at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frenchpress.arguments import DEFAULT_TASK, parse
from frenchpress.common import UserError, blaming, digest, run_main
from frenchpress.compress import pressed_tensors
from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.compress.size import size_report
from frenchpress.config import Config, blame_layer, load_config
from frenchpress.nnet.checkpoint import CONFIG
from frenchpress.nnet.given import check_task, give, given_places, is_trained
from frenchpress.nnet.model import AcousticModel, Sizes
from frenchpress.nnet.order import Training, maker, shared_lines, training_order
from frenchpress.nnet.shared import check_shared
from frenchpress.nnet.task import Task

_FAR = 1.25
"""Density over what was asked for, from which on it is said: a bank of 16 keeps one at least."""
SUPPOSED = Sizes(feat_dim=40, num_pdfs=1000, num_phones=48)  # while there is no task


def build_model(path: Path | str, config: Config, sizes: Sizes) -> AcousticModel:
    """The untrained model of `config`; UserError, naming place and key or else `path`, where something is amiss."""
    try:
        model = AcousticModel(config, sizes)
        MaskSchedule(model, given=config.train.mask_from is not None).check(config.train.epochs)
        check_shared(model)
        if config.train.mask_from and all(matrix.chain.mask is None for matrix in pressed_tensors(model)):
            raise UserError("train.mask_from: would do nothing: no layer has a mask; repeat its mask sections")
        return model
    except UserError as error:
        raise blame_layer(config, path, str(error)) from None


def check_lines(path: Path | str, sizes: Sizes, matrices: bool = False) -> list[str]:
    """A line on the model of a sound `.cfg`, with its masks as they are to be in the end, and one for each matrix that
    keeps far more than was asked for; with `matrices` one for each.
    """
    model = build_model(path, load_config(path), sizes)
    MaskSchedule(model, units=model.units).finish()
    size = size_report(model, model.constants)
    found = size["matrices"]
    lines = [_matrix_line(matrix) for matrix in found] if matrices else []
    far = [matrix for matrix in found if matrix["density"] > _FAR * matrix["asked_density"]]
    more = [f"{path}: {_matrix_line(matrix)}: its blocks or banks cannot keep so few" for matrix in far]
    return [_total_line(path, size, sizes), *lines, *more]


def check_given(order: Sequence[Training], exp: Path, sizes: Sizes, task: str | None = None) -> None:
    """UserError for a model that one of `order` starts or learns from and that does not fit it.

    In `exp` such a model is trained, on the task of this digest where that is known, or it has a `.cfg`.
    """
    for training in order:
        config = training.load()
        parents, where = {}, exp / training.name
        for key, place in given_places(config, where).items():
            if is_trained(place):
                parents[key] = load_config(place / CONFIG)
                if task is not None:
                    with blaming(training.path):
                        check_task(key, place, task)
            else:
                parents[key] = maker(training, key, place, exp).load()
        check_fit(training.path, config, where, parents, sizes)


def check_fit(path: Path | str, config: Config, out: Path, parents: Mapping[str, Config], sizes: Sizes) -> None:
    """UserError, naming `path`, where the run of `config` in `out` cannot be given what `parents` describe, by key."""
    model = build_model(path, config, sizes) if parents else None
    for key, parent in parents.items():
        with blaming(path):
            give(key, given_places(config, out)[key], model, AcousticModel(parent, sizes))


def _total_line(path: Path | str, size: dict[str, Any], sizes: Sizes) -> str:
    return (
        f"{path}: {size['kept']} of {size['macs_dense']} weights kept, {size['stored_bytes'] / 1e6:.3f} MB, "
        f"compression {size['compression_ratio']:.1f}x, {size['macs_kept']} multiply-accumulates per frame, "
        f"{sizes.num_pdfs} tied states and {sizes.num_phones} phones"
    )


def _matrix_line(matrix: dict[str, Any]) -> str:
    rows, columns = matrix["shape"]
    asked = f" ({100 * matrix['asked_density']:.2f} % asked for)" if matrix["asked_density"] < 1 else ""
    return (
        f"{matrix['name']} of {rows} x {columns}: {matrix['weight_bits']} bits, keeps "
        f"{100 * matrix['density']:.2f} %{asked}, {matrix['stored_bytes'] / 1e3:.1f} kB"
    )


def _sizes(args: argparse.Namespace, place: Path | None) -> Sizes:
    """Those of the task in `place`, where there is one; what the options say comes first."""
    known = SUPPOSED
    if place is not None:
        task = Task.load(place)
        known = Sizes(task.feat_dim, task.num_pdfs, task.num_phones)
    return Sizes(args.feat_dim or known.feat_dim, args.pdfs or known.num_pdfs, args.phones or known.num_phones)


def _supposed_line(sizes: Sizes) -> str:
    return (
        f"no {DEFAULT_TASK} yet, so {sizes.num_pdfs} tied states and {sizes.num_phones} phones are assumed; "
        "--task exp/x/task gives those of another run"
    )


def _all_lines(paths: Sequence[Path], sizes: Sizes, matrices: bool) -> tuple[list[str], list[str]]:
    """What `check_lines` has of each that is sound, and what is wrong with the others."""
    lines, wrong = [], []
    for path in paths:
        try:
            lines += check_lines(path, sizes, matrices)
        except UserError as error:
            wrong.append(str(error))
    return lines, wrong


def _plan_line(training: Training) -> str:
    return f"{training.path}\t{'default' if training.seed is None else training.seed}\t{training.name}"


def main() -> None:
    """Command line."""
    arguments = parse("check")
    paths, seeds = arguments.config, arguments.seeds
    there = arguments.task is not None or (DEFAULT_TASK / ".done").exists()
    place = (arguments.task or DEFAULT_TASK) if there else None
    sizes = _sizes(arguments, place)
    lines, wrong = _all_lines(paths, sizes, arguments.matrices)
    for line in [] if arguments.plan else [_supposed_line(sizes)] * (sizes == SUPPOSED) + lines:
        print(line)
    if wrong:
        raise UserError("\nerror: ".join(wrong))
    asked = [Training(path, seed) for path in paths for seed in seeds or [None]]
    exp = arguments.exp or (place or DEFAULT_TASK).parent
    order, shared = asked, []
    if not arguments.no_parents:
        order, shared = training_order(paths, seeds, exp), shared_lines(paths, seeds)
        # Who names another --exp may be about to make its task.
        check_given(order, exp, sizes, digest(place) if place is not None and arguments.exp is None else None)
    if arguments.plan:
        for line in shared:
            print(line, file=sys.stderr)
        print(*map(_plan_line, order), sep="\n")
        return
    for training in order:
        if training not in asked:
            print(f"{exp / training.name}: not trained yet; {training.path} is trained first")


if __name__ == "__main__":
    run_main(main)
