"""Speaker-adapted features of a data set, as a data directory of its own:

python -m frenchpress.gmm.make_fmllr_feats data/train exp/tri3 exp/tri3_ali_train/trans data/fmllr-tri3/train
"""

from __future__ import annotations

import argparse
from pathlib import Path

from frenchpress.common import UserError, digest, run_main
from frenchpress.gmm.corpus import Corpus
from frenchpress.gmm.model import System, read_transforms
from frenchpress.gmm.stage import data_digest, produce, system_digest
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.io import write_mats


def make_fmllr_feats(data: Path, model_dir: Path, transforms: Path, out: Path) -> None:
    """Write feats.ark, feats.scp and the tables of `data` into `out`."""
    corpus, system = Corpus.load(data), System.load(model_dir)
    found = read_transforms(transforms)
    missing = sorted(set(corpus.speakers) - set(found))
    if missing:
        raise UserError(f"{transforms}: no transform of speaker {missing[0]} of {data}")
    feats = corpus.adapt(system.front_end(corpus), found)
    write_mats(out / "feats.ark", out / "feats.scp", corpus.split(feats))
    tables = DataDir.load(data, allow_pipes=True)
    tables.wav, tables.segments, tables.speeds = {}, {}, {}
    tables.write(out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write the speaker-adapted features of a data set.")
    parser.add_argument("data", type=Path, help="data directory with MFCC")
    parser.add_argument("model", type=Path, help="experiment directory of the system")
    parser.add_argument("transforms", type=Path, help="archive of fMLLR per speaker")
    parser.add_argument("out", type=Path, help="data directory to write")
    args = parser.parse_args()
    if not args.transforms.exists():
        read_transforms(args.transforms)
    key = {
        "stage": "fmllr-feats",
        "system": system_digest(args.model),
        "data": data_digest(args.data),
        "transforms": digest(args.transforms),
    }
    produce(args.out, key, lambda: make_fmllr_feats(args.data, args.model, args.transforms, args.out))


if __name__ == "__main__":
    run_main(main)
