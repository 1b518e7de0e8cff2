"""From the alignment of one system to the first model of the next: tree, one Gaussian per leaf, new alignment."""

from __future__ import annotations

import numpy as np

from frenchpress.gmm.corpus import Corpus, Frames
from frenchpress.gmm.em import PdfFrames, mix_up
from frenchpress.gmm.model import FrontEnd, Model, System
from frenchpress.gmm.nets import HmmStates
from frenchpress.gmm.phoneset import PhoneSet
from frenchpress.gmm.questions import in_order, phone_questions
from frenchpress.gmm.train import Aligner, Schedule, Tids, tied_states, train
from frenchpress.gmm.treebuild import build_tree, gmms_from_moments
from frenchpress.gmm.treestats import segment, tree_stats
from frenchpress.kaldi.transition import TransitionModel

REALIGN = frozenset({10, 20, 30})


def triphone_schedule(leaves: int, gauss: int, power: float = 0.25) -> Schedule:
    """35 iterations, growing from `leaves` to `gauss` Gaussians in the first 25."""
    return Schedule(35, 25, REALIGN, leaves, gauss, power)


def grow_triphones(
    corpus: Corpus, feats: Frames, phones: PhoneSet, transitions: TransitionModel, tids: Tids, schedule: Schedule
) -> tuple[Model, Tids]:
    """A tree of at most `schedule.start_gauss` leaves and its first model, and the alignment in its numbering."""
    stats = tree_stats(corpus, transitions, tids, feats, set(phones.context_free))
    questions = in_order([*phone_questions(stats, phones.sets), *phones.questions])
    tree, moments = build_tree(stats, questions, phones.topo, phones.roots, schedule.start_gauss)
    print(
        f"  tree: {tree.num_pdfs} tied states of {schedule.start_gauss} leaves, {len(questions)} questions, "
        f"{len(stats.moments)} states in context seen",
        flush=True,
    )
    model = Model(TransitionModel.from_tree(tree, phones.topo), tree, gmms_from_moments(moments))
    tids = convert(corpus, transitions, tids, model)
    frames = PdfFrames.sort(tied_states(model.transitions, tids), tree.num_pdfs)
    start = mix_up(model.gmms, frames.counts, schedule.start_gauss, schedule.power, seed=0)
    return model.with_gmms(start), tids


def convert(corpus: Corpus, transitions: TransitionModel, tids: Tids, model: Model) -> Tids:
    """The same states in time [F] in the numbering of another model with the same topology."""
    segments = segment(corpus, transitions, tids)
    windows, of_segment = np.unique(segments.windows, axis=0, return_inverse=True)
    states = HmmStates(model.transitions, model.tree)
    size = max(len(model.transitions.topo.states(phone)) for phone in model.transitions.topo.phones)
    table = np.zeros((len(windows), size, 2), np.int32)
    for row, window in enumerate(windows.tolist()):
        if window[1] > 0:
            found = states(tuple(window) if model.tree.N == 3 else (window[1],))
            table[row, : len(found)] = found
    number = transitions.tid2hmm_state[tids]
    stays = transitions.tid2is_self_loop[tids].astype(np.int64)
    new = table[of_segment.reshape(-1)[segments.of_frame()], number, stays]
    return np.where(tids > 0, new, 0).astype(np.int32)


def train_deltas(
    phones: PhoneSet, aligner: Aligner, transitions: TransitionModel, tids: Tids, leaves: int, gauss: int
) -> tuple[System, Tids]:
    """Triphones on MFCC with differences, from an alignment `tids` [F] by another system's `transitions`."""
    feats = FrontEnd()(aligner.corpus)
    schedule = triphone_schedule(leaves, gauss)
    model, tids = grow_triphones(aligner.corpus, feats, phones, transitions, tids, schedule)
    model, feats, tids = train(model, feats, tids, aligner, schedule)
    return System(model, FrontEnd()), aligner(model, feats)
