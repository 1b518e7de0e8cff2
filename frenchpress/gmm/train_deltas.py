"""Train triphones on MFCC with differences:

python -m frenchpress.gmm.train_deltas data/train data/lang exp/mono exp/tri1
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import run_main
from frenchpress.gmm.model import System
from frenchpress.gmm.phoneset import PhoneSet
from frenchpress.gmm.train import Aligner
from frenchpress.gmm.train_triphone import Trained, no_options, run
from frenchpress.gmm.triphone import train_deltas


def _train(
    args: argparse.Namespace, phones: PhoneSet, aligner: Aligner, previous: System, tids: NDArray[np.int32]
) -> Trained:
    return train_deltas(phones, aligner, previous.model.transitions, tids, args.leaves, args.gauss)


def main() -> None:
    """Command line."""
    run("deltas", "Train triphones on MFCC with first and second differences.", _train, no_options)


if __name__ == "__main__":
    run_main(main)
