"""MFCC and CMVN statistics of data directories: mfcc/{feats,cmvn}.ark, feats.scp, cmvn.scp.

python -m frenchpress.feats.make_mfcc --nj 4 --config conf/mfcc.conf data/train data/dev data/test
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from frenchpress.common import UserError, atomic_dir, atomic_path, digest, is_done, locked_dir, mark_done, run_main
from frenchpress.feats.cmvn import cmvn_stats
from frenchpress.feats.mfcc import mfcc
from frenchpress.feats.options import MfccConfig, load_config
from frenchpress.kaldi.audio import file_state, read_audio
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.io import write_mats
from frenchpress.kaldi.parallel import ordered_map

SUBDIR = "mfcc"
_TABLES = ("feats.scp", "cmvn.scp")


@dataclass(frozen=True)
class _Job:
    utt: str
    entry: str
    near: Path
    where: str
    conf: MfccConfig
    allow_pipes: bool


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
        "inputs": digest(data_dir / "wav.scp", data_dir / "utt2spk"),
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
    jobs = [
        _Job(utt, entry, data.path, data.where("wav.scp", utt), conf, allow_pipes) for utt, entry in data.wav.items()
    ]
    by_speaker: dict[str, list[np.ndarray]] = {}

    def features() -> Iterator[tuple[str, np.ndarray]]:
        for job, matrix in zip(jobs, ordered_map(_compute, jobs, nj)):
            by_speaker.setdefault(data.utt2spk[job.utt], []).append(cmvn_stats([matrix]))
            yield job.utt, matrix

    write_mats(work / "feats.ark", work / "feats.scp", features(), place / "feats.ark")
    stats = ((speaker, np.sum(by_speaker[speaker], axis=0)) for speaker in data.spk2utt)
    write_mats(work / "cmvn.ark", work / "cmvn.scp", stats, place / "cmvn.ark")


def _compute(job: _Job) -> np.ndarray:
    rate = int(job.conf.sample_frequency)
    samples = read_audio(job.entry, job.near, rate, job.where, job.allow_pipes)
    try:
        matrix = mfcc(samples, rate, job.conf, job.utt)
    except UserError as error:
        raise UserError(f"{job.where}: {error}") from None
    if not np.isfinite(matrix).all():
        raise UserError(f"{job.where}: NaN or infinity in its features; is the audio sound?")
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
