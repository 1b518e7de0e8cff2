"""MFCC and CMVN statistics of data directories: mfcc/{feats,cmvn}.ark, feats.scp, cmvn.scp.

python -m frenchpress.feats.make_mfcc --nj 4 --config conf/mfcc.conf data/train data/dev data/test
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from frenchpress.common import UserError, atomic_dir, atomic_path, digest, is_done, locked_dir, mark_done, run_main
from frenchpress.feats.cmvn import cmvn_stats
from frenchpress.feats.mfcc import mfcc
from frenchpress.feats.options import MfccConfig, load_config
from frenchpress.kaldi.audio import file_state
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.io import write_mats
from frenchpress.kaldi.recordings import Utterance, over_utterances

SUBDIR = "mfcc"
_TABLES = ("feats.scp", "cmvn.scp")
_INPUTS = ("wav.scp", "utt2spk", "segments")


def make_mfcc(data_dir: Path, conf: MfccConfig, nj: int = 1, allow_pipes: bool = False) -> bool:
    """Compute features and per-speaker statistics of one data directory; False when they are there already."""
    data = DataDir.load(data_dir, allow_pipes)
    if not data.wav:
        raise UserError(f"{data_dir}/wav.scp: no such file or empty, nothing to compute features from")
    data.validate()
    place = data_dir / SUBDIR
    key = {
        "stage": "mfcc",
        "options": asdict(conf),
        "inputs": digest(*(path for name in _INPUTS if (path := data_dir / name).exists())),
        "audio": file_state(data),
    }
    with locked_dir(data_dir):
        if is_done(place, key) and all((data_dir / name).exists() for name in _TABLES):
            return False
        with atomic_dir(place) as work:
            _write(data, conf, nj, allow_pipes, work, place)
            mark_done(work, key)
        for name in _TABLES:
            with atomic_path(data_dir / name) as temporary:
                shutil.copyfile(place / name, temporary)
    return True


def _write(data: DataDir, conf: MfccConfig, nj: int, allow_pipes: bool, work: Path, place: Path) -> None:
    by_speaker: dict[str, dict[str, np.ndarray]] = {}
    rate = int(conf.sample_frequency)

    def features() -> Iterator[tuple[str, np.ndarray]]:
        for utt, matrix in over_utterances(partial(_compute, conf=conf), data, rate, nj, allow_pipes):
            if isinstance(matrix, UserError):
                raise matrix
            by_speaker.setdefault(data.utt2spk[utt], {})[utt] = cmvn_stats([matrix])
            yield utt, matrix

    write_mats(work / "feats.ark", work / "feats.scp", features(), place / "feats.ark")
    lines = sorted((work / "feats.scp").read_text().splitlines(), key=lambda line: line.split()[0].encode())
    (work / "feats.scp").write_text("".join(line + "\n" for line in lines))  # recordings may have another order
    stats = ((s, np.sum([by_speaker[s][utt] for utt in utts], axis=0)) for s, utts in data.spk2utt.items())
    write_mats(work / "cmvn.ark", work / "cmvn.scp", stats, place / "cmvn.ark")


def _compute(utterance: Utterance, samples: np.ndarray, _: int, conf: MfccConfig) -> np.ndarray:
    matrix = mfcc(samples, int(conf.sample_frequency), conf, utterance.id)
    if not np.isfinite(matrix).all():
        raise UserError("NaN or infinity in its features; is the audio sound?")
    return matrix


def main() -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dirs", nargs="+", type=Path, metavar="DATADIR")
    parser.add_argument("--config", type=Path, default=Path("conf/mfcc.conf"), help="options in Kaldi's syntax")
    parser.add_argument("--nj", type=int, default=1, help="processes")
    parser.add_argument("--allow-pipes", action="store_true", help="run wav.scp entries that are shell commands")
    args = parser.parse_args()
    conf = load_config(args.config)
    for data_dir in args.data_dirs:
        made = make_mfcc(data_dir, conf, args.nj, args.allow_pipes)
        print(f"{data_dir}: MFCC and CMVN statistics {'written' if made else 'are up to date'}")


if __name__ == "__main__":
    run_main(main)
