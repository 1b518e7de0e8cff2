"""Train triphones on speaker-adapted features:

python -m frenchpress.gmm.train_sat data/train data/lang exp/tri2 exp/tri3
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import run_main
from frenchpress.gmm.adapted import train_sat
from frenchpress.gmm.model import System
from frenchpress.gmm.phoneset import PhoneSet
from frenchpress.gmm.train import Aligner
from frenchpress.gmm.train_triphone import Trained, no_options, run


def _train(
    args: argparse.Namespace, phones: PhoneSet, aligner: Aligner, previous: System, tids: NDArray[np.int32]
) -> Trained:
    return train_sat(phones, aligner, previous, tids, args.leaves, args.gauss)


def main() -> None:
    """Command line."""
    run("sat", "Train triphones with fMLLR per speaker.", _train, no_options)


if __name__ == "__main__":
    run_main(main)
