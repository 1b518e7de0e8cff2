"""MFCC and CMVN statistics of data directories: mfcc/{feats,cmvn}.ark, feats.scp, cmvn.scp.

    python -m frenchpress.feats.make_mfcc --nj 4 --config conf/mfcc.conf data/train data/dev data/test

With `--kind fbank` log mel filterbanks, fbank/{feats,cmvn}.{ark,scp}, with the options of the MFCC that are there.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from frenchpress.common import UserError, atomic_dir, atomic_path, digest, is_done, locked_dir, mark_done, run_main
from frenchpress.feats.cmvn import cmvn_stats
from frenchpress.feats.mfcc import KINDS, mfcc
from frenchpress.feats.options import MfccConfig, load_config
from frenchpress.kaldi.audio import file_state
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.io import write_mats
from frenchpress.kaldi.recordings import Utterance, over_utterances

_INPUTS = ("wav.scp", "utt2spk", "segments", "utt2speed")
FBANK_BINS = 40
_TABLES = {"mfcc": ("feats.scp", "cmvn.scp"), "fbank": ()}
"""What stands in the data directory itself too, by kind."""


def make_mfcc(data_dir: Path, conf: MfccConfig, nj: int = 1, allow_pipes: bool = False, kind: str = "mfcc") -> bool:
    """Compute features and per-speaker statistics of one data directory; False when they are there already."""
    data = DataDir.load(data_dir, allow_pipes)
    if not data.wav:
        raise UserError(f"{data_dir}/wav.scp: no such file or empty, nothing to compute features from")
    data.validate()
    place = data_dir / kind
    key = {
        "stage": kind,
        "options": asdict(conf),
        "inputs": digest(*(path for name in _INPUTS if (path := data_dir / name).exists())),
        "audio": file_state(data),
    }
    with locked_dir(data_dir):
        if is_done(place, key) and all((data_dir / name).exists() for name in _TABLES[kind]):
            return False
        with atomic_dir(place) as work:
            _write(data, conf, kind, nj, allow_pipes, work, place)
            mark_done(work, key)
        for name in _TABLES[kind]:
            with atomic_path(data_dir / name) as temporary:
                shutil.copyfile(place / name, temporary)
    return True


def _write(data: DataDir, conf: MfccConfig, kind: str, nj: int, allow_pipes: bool, work: Path, place: Path) -> None:
    by_speaker: dict[str, dict[str, np.ndarray]] = {}
    rate = int(conf.sample_frequency)

    def features() -> Iterator[tuple[str, np.ndarray]]:
        compute = partial(_compute, conf=conf, kind=kind)
        for utt, matrix in over_utterances(compute, data, rate, nj, allow_pipes):
            if isinstance(matrix, UserError):
                raise matrix
            by_speaker.setdefault(data.utt2spk[utt], {})[utt] = cmvn_stats([matrix])
            yield utt, matrix

    write_mats(work / "feats.ark", work / "feats.scp", features(), place / "feats.ark")
    lines = sorted((work / "feats.scp").read_text().splitlines(), key=lambda line: line.split()[0].encode())
    (work / "feats.scp").write_text("".join(line + "\n" for line in lines))  # recordings may have another order
    stats = ((s, np.sum([by_speaker[s][utt] for utt in utts], axis=0)) for s, utts in data.spk2utt.items())
    write_mats(work / "cmvn.ark", work / "cmvn.scp", stats, place / "cmvn.ark")


def _compute(utterance: Utterance, samples: np.ndarray, _: int, conf: MfccConfig, kind: str) -> np.ndarray:
    matrix = mfcc(samples, int(conf.sample_frequency), conf, utterance.id, kind)
    if not np.isfinite(matrix).all():
        raise UserError("NaN or infinity in its features; is the audio sound?")
    return matrix


def made_with(data_dir: Path, kind: str = "mfcc") -> MfccConfig:
    """The options that the features of a data directory were made with."""
    stamp = data_dir / kind / ".done"
    if not stamp.exists():
        raise UserError(f"{stamp}: no such file; expected features made by steps/make_mfcc.sh")
    return MfccConfig(**json.loads(stamp.read_text())["options"])


def main() -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dirs", nargs="+", type=Path, metavar="DATADIR")
    parser.add_argument("--config", type=Path, default=Path("conf/mfcc.conf"), help="options in Kaldi's syntax")
    parser.add_argument("--nj", type=int, default=1, help="processes")
    parser.add_argument("--allow-pipes", action="store_true", help="run wav.scp entries that are shell commands")
    parser.add_argument("--kind", choices=KINDS, default="mfcc", help="cepstra, or log mel filterbanks (mfcc)")
    args = parser.parse_args()
    for data_dir in args.data_dirs:
        fbank = args.kind == "fbank"
        conf = replace(made_with(data_dir), num_mel_bins=FBANK_BINS) if fbank else load_config(args.config)
        made = make_mfcc(data_dir, conf, args.nj, args.allow_pipes, args.kind)
        print(f"{data_dir}: {args.kind.upper()} and CMVN statistics {'written' if made else 'are up to date'}")


if __name__ == "__main__":
    run_main(main)
