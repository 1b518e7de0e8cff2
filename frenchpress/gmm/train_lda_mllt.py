"""Train triphones with LDA and MLLT:

python -m frenchpress.gmm.train_lda_mllt data/train data/lang exp/tri1 exp/tri2
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import run_main
from frenchpress.gmm.adapted import train_lda_mllt
from frenchpress.gmm.model import System
from frenchpress.gmm.phoneset import PhoneSet
from frenchpress.gmm.train import Aligner
from frenchpress.gmm.train_triphone import Trained, run


def _train(
    args: argparse.Namespace, phones: PhoneSet, aligner: Aligner, previous: System, tids: NDArray[np.int32]
) -> Trained:
    transitions = previous.model.transitions
    return train_lda_mllt(phones, aligner, transitions, tids, args.leaves, args.gauss, args.context, args.dim)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--context", type=int, default=3, help="frames spliced on either side (3)")
    parser.add_argument("--dim", type=int, default=40, help="dimensions that LDA keeps (40)")


def main() -> None:
    """Command line."""
    run("lda_mllt", "Train triphones on spliced MFCC through LDA and MLLT.", _train, _options)


if __name__ == "__main__":
    run_main(main)
