"""What the commands that train triphones share: arguments, the system they start from, the directory they fill."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.gmm.inputs import Inputs
from frenchpress.gmm.model import System, read_alignment, write_alignment
from frenchpress.gmm.phoneset import PhoneSet
from frenchpress.gmm.stage import produce, system_digest
from frenchpress.gmm.train import Aligner
from frenchpress.kaldi.io import write_mats

Trained = tuple[System, NDArray[np.int32]] | tuple[System, NDArray[np.int32], dict[str, NDArray]]
Train = Callable[[argparse.Namespace, PhoneSet, Aligner, System, NDArray[np.int32]], Trained]


def run(stage: str, description: str, train: Train, add_options: Callable[[argparse.ArgumentParser], Any]) -> None:
    """Parse the command line, call `train` where its result is not there yet, write what it returns."""
    parser = argparse.ArgumentParser(description=description)
    Inputs.add_arguments(parser)
    parser.add_argument("previous", type=Path, help="experiment directory of the system whose alignment to start from")
    parser.add_argument("out", type=Path, help="experiment directory to write")
    parser.add_argument("--leaves", type=int, default=1200, help="tied states, before like ones are merged (1200)")
    parser.add_argument("--gauss", type=int, default=8000, help="Gaussians in all (8000)")
    add_options(parser)
    args = parser.parse_args()
    if args.gauss < args.leaves:
        raise UserError(f"--gauss is {args.gauss}, expected at least one per leaf: {args.leaves}")
    inputs = Inputs.of(args)
    places = ("data", "lang", "previous", "out", "nj")
    options = {name: value for name, value in vars(args).items() if name not in places}
    key = {"stage": stage, "previous": system_digest(args.previous)} | options | inputs.key()
    produce(args.out, key, lambda: _make(args, inputs, train))


def no_options(parser: argparse.ArgumentParser) -> None:
    """For commands without options of their own."""


def _make(args: argparse.Namespace, inputs: Inputs, train: Train) -> None:
    phones, aligner = inputs.load()
    previous = System.load(args.previous)
    tids = read_alignment(args.previous, aligner.corpus)
    system, tids, *transforms = train(args, phones, aligner, previous, tids)
    system.save(args.out)
    write_alignment(args.out, aligner.corpus, tids)
    if transforms:
        write_mats(args.out / "trans", None, sorted(transforms[0].items()))
