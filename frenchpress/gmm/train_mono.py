"""Train the monophone system: `python -m frenchpress.gmm.train_mono data/train data/lang exp/mono`."""

from __future__ import annotations

import argparse
from pathlib import Path

from frenchpress.common import run_main
from frenchpress.gmm.inputs import Inputs
from frenchpress.gmm.model import write_alignment
from frenchpress.gmm.monophone import FIRST_SILENCE, train_monophone
from frenchpress.gmm.stage import produce


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train a monophone GMM system.")
    Inputs.add_arguments(parser)
    parser.add_argument("out", type=Path, help="experiment directory to write")
    parser.add_argument("--gauss", type=int, default=1000, help="Gaussians in all (1000)")
    parser.add_argument("--iterations", type=int, default=40, help="of re-estimation (40)")
    parser.add_argument(
        "--first-silence", choices=FIRST_SILENCE, default="coin",
        help="optional silence in the first alignment: at any place by a coin, or at both ends of utterances (coin)",
    )  # fmt: skip
    args = parser.parse_args()
    inputs = Inputs.of(args)

    def make() -> None:
        phones, aligner = inputs.load()
        system, tids = train_monophone(
            phones.topo, phones.sets, aligner, args.gauss, args.iterations, args.first_silence
        )
        system.save(args.out)
        write_alignment(args.out, aligner.corpus, tids)

    key = {"stage": "mono", "gauss": args.gauss, "iterations": args.iterations, "first_silence": args.first_silence}
    produce(args.out, key | inputs.key(), make)


if __name__ == "__main__":
    run_main(main)
