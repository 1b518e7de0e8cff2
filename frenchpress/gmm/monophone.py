"""The monophone system, from nothing: equal alignment, then EM with frequent realignment."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from frenchpress.gmm.corpus import Frames
from frenchpress.gmm.em import PdfFrames
from frenchpress.gmm.gmms import GmmSet
from frenchpress.gmm.model import FrontEnd, Model, System
from frenchpress.gmm.nets import HmmStates
from frenchpress.gmm.train import Aligner, Schedule, Tids, reestimate, tied_states, train
from frenchpress.kaldi.topology import HmmTopology
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.kaldi.tree import STATE_KEY, Constant, ContextTree, Node, Table

FIRST_SILENCE = ("coin", "ends")
_SILENCE_CHANCE = 0.5  # of optional silence at each place in the first alignment, by the coin
_TRIES = 10
# Which tosses: of real speech, systems trained from other tosses differ by a point or two of PER. Of the two tried, 0
# and 1, this gave the better monophones on dev.
_DRAW = 1

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
    """The states [S, 2] (ids of leaving and staying) in a row, each equally long; None if they do not fit.

    What division leaves over goes to the first states, one frame each, as Kaldi does it.
    """
    if len(tids) > frames:
        return None
    each, more = divmod(frames, len(tids))
    state = np.repeat(np.arange(len(tids)), each + (np.arange(len(tids)) < more))
    entered = np.diff(state, prepend=-1) > 0
    return np.where(entered, tids[state, 0], tids[state, 1])


def equal_alignment(aligner: Aligner, model: Model, first_silence: str = "coin") -> Tids:
    """`equal_path` of every utterance, [F]. `first_silence`, of `FIRST_SILENCE`: where it has optional silence.

    `coin`: one is tossed for each place, as Kaldi's start does, though its probability is another. The first silence
    model is then little else than average speech, and takes up true silence from there. `ends`: before the first phone
    and after the last. The model knows silence at once and claims more frames: on 1.76 h of read speech 41 % of them at
    the end of the training of monophones, where it is 36 % by the coin. An utterance too short does without.
    """
    corpus = aligner.corpus
    states = HmmStates(model.transitions, model.tree)
    tids = np.zeros(int(corpus.offsets[-1]), np.int32)
    for k, phones in enumerate(corpus.phones):
        rng = np.random.default_rng(zlib.crc32(f"{corpus.utts[k]}{_DRAW}".encode()))
        where = first_silence if aligner.sil_prob > 0 else None
        for places in _first_places(len(phones), where, rng) if phones else ():
            transcript = _with_silence(phones, aligner.silence, places)
            path = equal_path(np.concatenate([states((p,)) for p in transcript]), corpus.lengths[k])
            if path is not None:
                tids[corpus.rows(k)] = path
                break
    return tids


def _first_places(phones: int, where: str | None, rng: np.random.Generator) -> Iterator[NDArray[np.bool_]]:
    """What is tried, bool [phones + 1]: silence before each phone, and after the last one; none of it at last."""
    none = np.zeros(phones + 1, dtype=bool)
    if where == "coin":
        for _ in range(_TRIES):
            yield rng.random(phones + 1) < _SILENCE_CHANCE
    elif where == "ends":
        ends = none.copy()
        ends[[0, -1]] = True
        yield ends
    yield none


def _with_silence(phones: list[int], silence: int, places: NDArray[np.bool_]) -> list[int]:
    """The transcript with silence before each phone, and after the last one, where `places` [phones + 1] says so."""
    spoken = [p for phone, place in zip(phones, places) for p in ([silence] if place else []) + [phone]]
    return spoken + [silence] * bool(places[-1])


def train_monophone(
    topo: HmmTopology,
    sets: list[list[int]],
    aligner: Aligner,
    total_gauss: int = 1000,
    iterations: int = 40,
    first_silence: str = "coin",
) -> tuple[System, Tids]:
    """The system, and the alignment by its final model. `first_silence`: as `equal_alignment` has it."""
    feats = FrontEnd()(aligner.corpus)
    model = initial_model(topo, monophone_tree(topo, sets), feats)
    start = model.gmms.num_pdfs
    schedule = Schedule(iterations, min(30, max(iterations - 10, 1)), REALIGN, start, total_gauss)
    tids = equal_alignment(aligner, model, first_silence)
    frames = PdfFrames.sort(tied_states(model.transitions, tids), start)
    model, _ = reestimate(model, feats, tids, frames, schedule, 0, aligner.threads, min_occupancy=3.0)
    model, feats, tids = train(model, feats, tids, aligner, schedule)
    return System(model, FrontEnd()), aligner(model, feats)
