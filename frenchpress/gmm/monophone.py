"""The monophone system, from nothing: equal alignment, then EM with frequent realignment."""

from __future__ import annotations

import numpy as np

from frenchpress.gmm.corpus import Frames
from frenchpress.gmm.em import PdfFrames
from frenchpress.gmm.gmms import GmmSet
from frenchpress.gmm.model import FrontEnd, Model, System
from frenchpress.gmm.nets import HmmStates
from frenchpress.gmm.train import Aligner, Schedule, Tids, reestimate, tied_states, train
from frenchpress.kaldi.topology import HmmTopology
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.kaldi.tree import STATE_KEY, Constant, ContextTree, Node, Table

REALIGN = frozenset([*range(1, 11), 12, 14, 16, 18, 20, 23, 26, 29, 32, 35, 38])


def monophone_tree(topo: HmmTopology, sets: list[list[int]]) -> ContextTree:
    """A tree without context: each set of phones has its own pdf per state."""
    children: list[Node | None] = [None] * (max(topo.phones) + 1)
    next_pdf = 0
    for phones in sets:
        classes = max(topo.num_pdf_classes(phone) for phone in phones)
        leaf = Table(STATE_KEY, tuple(Constant(next_pdf + k) for k in range(classes)))
        next_pdf += classes
        for phone in phones:
            children[phone] = leaf
    return ContextTree(1, 0, Table(0, tuple(children)))


def initial_model(topo: HmmTopology, tree: ContextTree, feats: Frames) -> Model:
    """One Gaussian per pdf, the same for all: mean and variance of all frames."""
    transitions = TransitionModel.from_tree(tree, topo)
    mean, var = feats.mean(0, dtype=np.float64), feats.var(0, dtype=np.float64)
    part = (np.ones(1), mean[None], np.maximum(var, 1e-3)[None])
    return Model(transitions, tree, GmmSet.pack([part] * tree.num_pdfs))


def equal_path(tids: Tids, frames: int) -> Tids | None:
    """The states [S, 2] (ids of leaving and staying) in a row, each about equally long; None if they do not fit."""
    if len(tids) > frames:
        return None
    state = np.arange(frames) * len(tids) // frames
    entered = np.diff(state, prepend=-1) > 0
    return np.where(entered, tids[state, 0], tids[state, 1])


def equal_alignment(aligner: Aligner, model: Model) -> Tids:
    """`equal_path` of every utterance, [F].

    Optional silence stands at both ends and nowhere else: where it is sure to be found in recordings, so that its
    model learns what silence sounds like before it may claim more.
    """
    corpus = aligner.corpus
    states = HmmStates(model.transitions, model.tree)
    tids = np.zeros(int(corpus.offsets[-1]), np.int32)
    ends = [aligner.silence] if aligner.sil_prob > 0 else []
    for k, phones in enumerate(corpus.phones):
        for transcript in (ends + phones + ends, phones):
            path = equal_path(np.concatenate([states((p,)) for p in transcript]), corpus.lengths[k]) if phones else None
            if path is not None:
                tids[corpus.rows(k)] = path
                break
    return tids


def train_monophone(
    topo: HmmTopology, sets: list[list[int]], aligner: Aligner, total_gauss: int = 1000, iterations: int = 40
) -> tuple[System, Tids]:
    """The system, and the alignment by its final model."""
    feats = FrontEnd()(aligner.corpus)
    model = initial_model(topo, monophone_tree(topo, sets), feats)
    start = model.gmms.num_pdfs
    schedule = Schedule(iterations, min(30, max(iterations - 10, 1)), REALIGN, start, total_gauss)
    tids = equal_alignment(aligner, model)
    frames = PdfFrames.sort(tied_states(model.transitions, tids), start)
    model = reestimate(model, feats, tids, frames, schedule, 0, aligner.threads, min_occupancy=3.0)
    model, feats, tids = train(model, feats, tids, aligner, schedule)
    return System(model, FrontEnd()), aligner(model, feats)
