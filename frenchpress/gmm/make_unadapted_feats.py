"""Features without speaker adaptation of a data set, as a data directory of its own:

    python -m frenchpress.gmm.make_unadapted_feats lda data/train exp/tri3 data/dev data/lda-tri3/dev
    python -m frenchpress.gmm.make_unadapted_feats fbank data/train exp/tri3 data/dev data/fbank-tri3/dev

`lda`: MFCC less a running mean, spliced, through the LDA+MLLT matrix of the system. `fbank`: log mel filterbanks less a
running mean; of the system nothing is used. Before an utterance has frames of its own, the mean is that of the
training set.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, blaming, digest, run_main
from frenchpress.feats.unadapted import ADAPTED, MADE_OF, UnadaptedFront, training_mean
from frenchpress.gmm.model import read_splice_opts
from frenchpress.gmm.stage import data_digest, produce, system_digest
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.io import MatrixReader, read_matrix, write_mats


def unadapted_front(features: str, train: Path, system: Path) -> UnadaptedFront:
    """The front end of `features`: with the mean of the training set and, but for fbank, the matrix of a GMM system.

    That of fmllr is that of lda: what comes before the speaker's transform.
    """
    kind = MADE_OF[features]
    mean = training_mean(train, kind)
    if kind == "fbank":
        return UnadaptedFront(mean, 0, 0, np.eye(len(mean), dtype=np.float32))
    if not (system / "final.mat").exists():
        raise UserError(f"{system}/final.mat: no such file; expected a system with LDA+MLLT, tri2 or tri3")
    with blaming(system / "final.mat"):
        matrix = np.asarray(read_matrix(system / "final.mat"), np.float32)
        return UnadaptedFront(mean, *read_splice_opts(system / "splice_opts"), matrix)


def make_unadapted_feats(front: UnadaptedFront, data: Path, kind: str, out: Path) -> None:
    """Write feats.ark, feats.scp and the tables of `data` into `out`, from its MFCC or filterbanks."""
    tables, reader = DataDir.load(data, allow_pipes=True), MatrixReader(data / kind / "feats.scp")

    def matrices() -> Iterator[tuple[str, NDArray[np.float32]]]:
        return ((utt, front(reader[utt])) for utt in tables.utts if utt in reader)

    write_mats(out / "feats.ark", out / "feats.scp", matrices())
    tables.wav, tables.segments, tables.speeds = {}, {}, {}
    tables.write(out)


def main() -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", choices=[name for name in MADE_OF if name != ADAPTED], help="which ones")
    parser.add_argument("train", type=Path, help="training set, for its mean")
    parser.add_argument("system", type=Path, help="experiment directory of the GMM system")
    parser.add_argument("data", type=Path, help="data directory with MFCC (lda) or filterbanks (fbank)")
    parser.add_argument("out", type=Path, help="data directory to write")
    args = parser.parse_args()
    kind = MADE_OF[args.features]
    for place in (args.train, args.data):
        if not (place / kind / ".done").exists():
            raise UserError(f"{place}/{kind}: no such features; frenchpress.feats.make_mfcc --kind {kind} makes them")
    key = {
        "stage": f"{args.features}-feats",
        "system": system_digest(args.system),
        "data": [data_digest(args.data), digest(args.data / kind), digest(args.train / kind)],
    }
    front = unadapted_front(args.features, args.train, args.system)
    produce(args.out, key, lambda: make_unadapted_feats(front, args.data, kind, args.out))


if __name__ == "__main__":
    run_main(main)
