"""What a packed model needs to hear audio: cepstra to features, phones to adapt to, the meaning of the graph's labels.

It is gathered from the GMM system whose alignments the network was trained on, and from the training set: options and
mean of its cepstra or filterbanks and, for features adapted to the speaker, the network's features with their phones.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, atomic_path
from frenchpress.feats.make_mfcc import made_with
from frenchpress.feats.options import config_lines
from frenchpress.feats.unadapted import ADAPTED, MADE_OF
from frenchpress.gmm.make_unadapted_feats import unadapted_front
from frenchpress.kaldi.gmm import read_model
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.nnet.task import Task
from frenchpress.packed.model import ENDS_PHONE, SELF_LOOP, PackedFront
from frenchpress.score.transcripts import read_score_map, read_tokens
from frenchpress.score.unit import PHONE

GRAPH_FILES = ("HCLG.fst", "words.txt")
_SHRINK = 20.0  # frames at the variance of all phones that each phone's variance counts


def find_system(task: Task) -> tuple[Path, Path] | None:
    """Where run.sh has the GMM system and the training set of a task: exp/tri3 and data/train. None: not there.

    The task lies in exp, or in exp/lda or exp/fbank.
    """
    feats = Path(task.source)
    kind, _, name = feats.name.partition("-")
    train = feats.parent / "train"
    if kind != task.features or not (train / MADE_OF[kind] / ".done").exists():
        return None
    found = (place / name for place in (task.path.parent, task.path.parent.parent))
    return next(((system, train) for system in found if (system / "final.mat").exists()), None)


def make_front(system: Path, train: Path, task: Task) -> tuple[PackedFront, list[str]]:
    """The front end, and the options of its cepstra or filterbanks in Kaldi's syntax; UserError when the pieces do not
    fit. Only features that are adapted to the speaker have phones to adapt to.
    """
    if task.unit is not PHONE:
        raise UserError(f"{task.path}: of {task.unit.many}, and audio is recognised in phones: no front end to pack")
    conf = made_with(train, MADE_OF[task.features])
    transitions, _ = read_model(system / "final.mdl")
    if transitions.num_pdfs != task.num_pdfs or transitions.num_phones != task.num_phones:
        raise UserError(f"{system}/final.mdl: not the system whose tied states {task.path} has")
    front = unadapted_front(task.features, train, system)
    if len(front.matrix) != task.feat_dim:
        raise UserError(f"{system}/final.mat: gives {len(front.matrix)} features, {task.path} has {task.feat_dim}")
    gaussians = phone_gaussians(task) if task.features == ADAPTED else no_gaussians(task.feat_dim)
    packed = PackedFront(front.left, front.right, front.mean, front.matrix, *gaussians, *labels(transitions))
    return packed, config_lines(conf)


def no_gaussians(dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """As `phone_gaussians`, of no phone: there is nothing to adapt to."""
    return np.zeros(0, np.float32), np.zeros((0, dim), np.float32), np.zeros((0, dim), np.float32)


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
