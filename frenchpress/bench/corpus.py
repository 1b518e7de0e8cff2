"""Memory and time of training against the size of the corpus: `python -m frenchpress.bench.corpus --hours 1 10 100`.

A task of zeros is made for each size (its features are a file with holes, which takes no room on the disk), and a
process of its own takes some steps with it in several shards. Printed are its largest resident memory, and how fast
shards are read, which is to be held against how fast a model trains; a corpus of one shard is read once.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from frenchpress.common import run_main
from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.config import config_from_dict
from frenchpress.kaldi.binary import HEADER
from frenchpress.nnet.model import AcousticModel, Sizes
from frenchpress.nnet.optimizer import make_optimizer
from frenchpress.nnet.shards import SHARD
from frenchpress.nnet.task import Task
from frenchpress.nnet.train.command import read_frames
from frenchpress.nnet.train.loop import step
from frenchpress.nnet.train.run import Run

DIM, STATES, PHONES, LENGTH = 40, 100, 40, 1200  # utterances of 12 s
_PER_HOUR = 360_000  # frames


def make_task(root: Path, hours: float) -> Path:
    """A task of so many hours, with dev and test of one utterance."""
    for split, count in (("train", max(1, round(hours * _PER_HOUR / LENGTH))), ("dev", 1), ("test", 1)):
        place = root / split
        place.mkdir(parents=True)
        utts = [f"utt{i:07}" for i in range(count)]
        _write_feats(place, utts)
        for name in ("pdf", "phone"):
            _write_targets(place / f"{name}.ark", utts)
        (place / "utt2spk").write_text("".join(f"{utt} {utt}\n" for utt in utts))
    meta = f"{{num_pdfs: {STATES}, num_phones: {PHONES}, feat_dim: {DIM}, phones: {list(range(PHONES))}, source: made, "
    (root / "meta.yaml").write_text(f"{meta}pdf_counts: {[1] * STATES}}}\n")
    (root / ".done").write_text("{}\n")
    return root


def _write_feats(place: Path, utts: list[str]) -> None:
    head = HEADER + b"FM \4" + np.int32(LENGTH).tobytes() + b"\4" + np.int32(DIM).tobytes()
    with open(place / "feats.ark", "wb") as ark, open(place / "feats.scp", "w") as scp:
        for utt in utts:
            ark.write(utt.encode() + b" ")
            scp.write(f"{utt} {place}/feats.ark:{ark.tell()}\n")
            ark.write(head)
            ark.seek(4 * LENGTH * DIM, 1)
        ark.truncate(ark.tell())


def _write_targets(path: Path, utts: list[str]) -> None:
    sized = np.zeros(LENGTH, [("size", "i1"), ("value", "<i4")])
    sized["size"] = 4
    value = HEADER + b"\4" + np.int32(LENGTH).tobytes() + sized.tobytes()
    with open(path, "wb") as ark:
        for utt in utts:
            ark.write(utt.encode() + b" " + value)


def measure(task: Path, shards: int, steps: int) -> tuple[float, float]:
    """Take `steps` steps in each of so many shards: largest resident memory in MB, frames read per second."""
    torch.set_num_threads(1)
    small = {"model": {"lstm": {"layers": 1, "cells": 32}}, "train": {"device": "cpu", "threads": 1}}
    config = config_from_dict(small, "the benchmark")
    train, dev = (read_frames(Task.load(task), split, torch.device("cpu")) for split in ("train", "dev"))
    model = AcousticModel(config, Sizes(DIM, STATES, PHONES))
    run = Run(config, task, model, make_optimizer(model, config.train), train, dev, MaskSchedule(model), 1e9)
    seconds = frames = 0.0
    for batches in _some(train.epoch_order(1000, 8, 0, 0), train.shards([0, 0])[:shards], steps):
        begun = time.process_time()
        train.hold(batches[0][:, 0])
        seconds, frames = seconds + time.process_time() - begun, frames + len(train.feats)
        for rows in batches:
            step(run, train.batch(rows, model.offsets))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, frames / max(seconds, 1e-9)


def _some(order: list[np.ndarray], shards: list[np.ndarray], steps: int) -> Iterator[list[np.ndarray]]:
    """The first batches of each shard."""
    for utts in shards:
        yield [rows for rows in order if rows[0, 0] in set(utts.tolist())][:steps]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, nargs="+", default=[1.0, 10.0, 100.0], help="sizes (1 10 100)")
    parser.add_argument("--shards", type=int, default=3, help="how many are gone through, at most (3)")
    parser.add_argument("--steps", type=int, default=5, help="steps in each (5)")
    parser.add_argument("--task", type=Path, help=argparse.SUPPRESS)  # of the process that is measured
    arguments = parser.parse_args()
    if arguments.task is not None:
        print(*measure(arguments.task, arguments.shards, arguments.steps))
        return
    print(f"shards of {SHARD} frames\n hours  resident MB  frames read per second of one processor")
    for hours in arguments.hours:
        with tempfile.TemporaryDirectory() as place:
            task = make_task(Path(place) / "task", hours)
            command = [sys.executable, "-m", "frenchpress.bench.corpus", "--task", str(task)]
            command += ["--shards", str(arguments.shards), "--steps", str(arguments.steps)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            resident, speed = map(float, done.stdout.split())
            print(f"{hours:6g}  {resident:11.0f}  {speed:39.0f}", flush=True)


if __name__ == "__main__":
    run_main(main)
