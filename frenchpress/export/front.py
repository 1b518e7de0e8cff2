"""What a packed model needs to hear audio: cepstra to features, phones to adapt to, the meaning of the graph's labels.

It is gathered from the speaker-adapted GMM system whose features the network was trained on, and from the training
set: its cepstra's options and mean, and the network's features with their phones.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, atomic_path
from frenchpress.feats.options import MfccConfig, config_lines
from frenchpress.gmm.model import read_splice_opts
from frenchpress.kaldi.gmm import read_model
from frenchpress.kaldi.io import MatrixReader, read_matrix
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.nnet.task import Task
from frenchpress.packed.model import ENDS_PHONE, SELF_LOOP, PackedFront
from frenchpress.score.transcripts import read_score_map, read_tokens

GRAPH_FILES = ("HCLG.fst", "words.txt")
_ADAPTED = "fmllr-"
_SHRINK = 20.0  # frames at the variance of all phones that each phone's variance counts


def find_system(task: Task) -> tuple[Path, Path] | None:
    """Where run.sh has the GMM system and the training set of a task: exp/tri3 and data/train. None: not there."""
    feats = Path(task.source)
    if not feats.name.startswith(_ADAPTED):
        return None
    system, train = task.path.parent / feats.name.removeprefix(_ADAPTED), feats.parent / "train"
    return (system, train) if (system / "final.mat").exists() and (train / "mfcc/.done").exists() else None


def make_front(system: Path, train: Path, task: Task) -> tuple[PackedFront, list[str]]:
    """The front end, and the options of its cepstra in Kaldi's syntax; UserError when the pieces do not fit."""
    conf, mean = mfcc_options(train), _mean(train)
    transitions, _ = read_model(system / "final.mdl")
    if transitions.num_pdfs != task.num_pdfs or transitions.num_phones != task.num_phones:
        raise UserError(f"{system}/final.mdl: not the system whose tied states {task.path} has")
    matrix = read_matrix(system / "final.mat")
    left, right = read_splice_opts(system / "splice_opts")
    shape = (task.feat_dim, (left + 1 + right) * len(mean))
    if matrix.shape != shape:
        raise UserError(f"{system}/final.mat: {matrix.shape}, but the features of {task.path} ask for {shape}")
    weight, means, variances = phone_gaussians(task)
    pdf, phone, flags = labels(transitions)
    front = PackedFront(left, right, mean, matrix.astype(np.float32), weight, means, variances, pdf, phone, flags)
    return front, config_lines(conf)


def mfcc_options(train: Path) -> MfccConfig:
    """The options that the features of a data directory were made with, dither left out."""
    stamp = train / "mfcc/.done"
    if not stamp.exists():
        raise UserError(f"{stamp}: no such file; expected features made by steps/make_mfcc.sh")
    return MfccConfig(**{**json.loads(stamp.read_text())["options"], "dither": 0.0})


def _mean(train: Path) -> NDArray[np.float32]:
    """Mean of all cepstra of a data directory, float32 [ceps]."""
    total = sum(MatrixReader(train / "cmvn.scp").values())
    return (total[0, :-1] / total[0, -1]).astype(np.float32)


def phone_gaussians(task: Task) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Share [P], means and variances [P, D] of the features of each phone in training; share 0 for silence."""
    count = np.zeros(task.num_phones)
    first, second = np.zeros((2, task.num_phones, task.feat_dim))
    for _, feats, _, phones in task.split("train"):
        member = np.eye(task.num_phones)[phones]
        count += member.sum(axis=0)
        first += member.T @ feats
        second += member.T @ feats.astype(np.float64) ** 2
    means = first / np.maximum(count, 1)[:, None]
    spread = second - count[:, None] * means**2
    pooled = spread.sum(axis=0) / count.sum()
    variances = (spread + _SHRINK * pooled) / (count[:, None] + _SHRINK)
    share = np.where(_silence(task), 0, count) / count.sum()
    return share.astype(np.float32), means.astype(np.float32), variances.astype(np.float32)


def _silence(task: Task) -> NDArray[np.bool_]:
    """Which phones are not scored, or may be left out: silences."""
    table, optional = read_score_map(task.score_map), read_tokens(task.optional_tokens)
    return np.array([table.get(phone) is None or table[phone] in optional for phone in task.phones])


def labels(model: TransitionModel) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Tied state, phone from 0 and flags of each transition-id, int32 [ids]."""
    flags = ENDS_PHONE * model.tid2is_final.astype(np.int32) + SELF_LOOP * model.tid2is_self_loop
    return tuple(np.asarray(a[1:], np.int32) for a in (model.tid2pdf, model.tid2phone - 1, flags))


def copy_graph(graph: Path, out: Path) -> None:
    """Copy the files of a decoding graph over transition-ids."""
    for name in GRAPH_FILES:
        if not (graph / name).exists():
            raise UserError(f"{graph / name}: no such file, expected the system's decoding graph")
        with atomic_path(out / name) as temporary:
            shutil.copyfile(graph / name, temporary)
