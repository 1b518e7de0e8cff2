"""The training loop that all systems share: realign now and then, re-estimate, let the mixtures grow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.common.progress import progress, say
from frenchpress.gmm.corpus import Corpus, Frames
from frenchpress.gmm.em import MIN_OCCUPANCY, PdfFrames, accumulate, mix_up, update
from frenchpress.gmm.model import Model
from frenchpress.gmm.nets import AlignNet, HmmStates, build_net
from frenchpress.gmm.viterbi import align
from frenchpress.kaldi.transition import TransitionModel

MIN_PROBABILITY = 0.01  # of any transition
MIN_TRANSITION_COUNT = 5.0

Tids = NDArray[np.int32]
Hook = Callable[[int, Model, Frames, Tids], tuple[Model, Frames]]


@dataclass(frozen=True)
class Schedule:
    """How long, when to realign, and how the number of Gaussians grows, linearly over `growth` iterations."""

    iterations: int
    growth: int
    realign: frozenset[int]
    start_gauss: int
    total_gauss: int
    power: float = 0.25

    def num_gauss(self, iteration: int) -> int:
        """Gaussians to split up to at an iteration (1, 2, ...)."""
        step = max(self.total_gauss - self.start_gauss, 0) // self.growth
        return self.start_gauss + step * min(max(iteration - 1, 0), self.growth)


@dataclass
class Aligner:
    """Aligns one corpus again and again; networks are kept as long as tree and transitions' numbering stay."""

    corpus: Corpus
    silence: int
    sil_prob: float
    threads: int = 1
    _states: HmmStates | None = None
    _nets: list[AlignNet | None] = field(default_factory=list)
    _failed: list[str] = field(default_factory=list)

    def nets(self, model: Model) -> list[AlignNet | None]:
        """The network of each utterance, None where the transcript is empty."""
        if self._states is None or self._states.tree is not model.tree:
            states = HmmStates(model.transitions, model.tree)
            self._nets = [
                build_net(said, states, self.silence, self.sil_prob) if said else None
                for said in self.corpus.words or self.corpus.phones
            ]
            self._states = states
        return self._nets

    def __call__(self, model: Model, feats: Frames) -> Tids:
        """Transition-ids [F] of the best paths; 0 for utterances that cannot be aligned."""
        corpus = self.corpus
        paths = align(
            self.nets(model),
            lambda k: feats[corpus.rows(k)],
            corpus.lengths,
            model.transitions,
            model.gmms,
            self.threads,
        )
        tids = np.zeros(len(feats), np.int32)
        failed = [corpus.utts[k] for k, path in enumerate(paths) if path is None]
        for k, path in enumerate(paths):
            if path is not None:
                tids[corpus.rows(k)] = path[0]
        if failed != self._failed:  # most often the same ones again
            self._failed = failed
            report_failures(failed, len(corpus.utts))
        return tids


def report_failures(failed: list[str], total: int) -> None:
    """One line about utterances too short for their transcripts; UserError when that is most of them."""
    if not failed:
        say(f"  left out of the alignment: none of {total} utterances")
        return
    what = f"{failed[0]} too short for its transcript, or without one"
    if 2 * len(failed) > total:
        raise UserError(f"alignment: {len(failed)} of {total} utterances are like {what}; are text and audio in step?")
    say(f"  left out of the alignment: {len(failed)} of {total} utterances, the first: {what}")


def tied_states(transitions: TransitionModel, tids: Tids) -> NDArray[np.int32]:
    """The pdf of every frame, -1 where it is not aligned."""
    return np.where(tids > 0, transitions.tid2pdf[tids], -1).astype(np.int32)


def silence_free(transitions: TransitionModel, tids: Tids, silence: int) -> NDArray[np.int32]:
    """The pdf of every frame, -1 where it is not aligned or aligned to silence."""
    speech = (tids > 0) & (transitions.tid2phone[tids] != silence)
    return np.where(speech, transitions.tid2pdf[tids], -1).astype(np.int32)


def update_transitions(transitions: TransitionModel, tids: Tids) -> TransitionModel:
    """Relative frequencies, floored; states seen too rarely keep their probabilities."""
    counts = np.bincount(tids, minlength=transitions.num_tids + 1).astype(np.float64)
    row = transitions.tid2tuple
    size = len(transitions.tuples)
    counts[0] = 0.0
    totals = np.bincount(row[1:], counts[1:], size)
    probs = counts / np.maximum(totals[row], 1.0)
    for _ in range(3):
        sums = np.bincount(row[1:], probs[1:], size)
        probs = np.maximum(probs / np.maximum(sums[row], 1e-10), MIN_PROBABILITY)
    seen = totals[row] >= MIN_TRANSITION_COUNT
    log_probs = np.where(seen, np.log(probs), transitions.log_probs).astype(np.float32)
    log_probs[0] = transitions.log_probs[0]
    return TransitionModel(transitions.topo, transitions.tuples, log_probs)


def train(
    model: Model,
    feats: Frames,
    tids: Tids,
    aligner: Aligner,
    schedule: Schedule,
    hook: Hook | None = None,
) -> tuple[Model, Frames, Tids]:
    """Run the schedule from iteration 1; returns the model, the features that it fits, its last alignment. At the end
    it says how the log-likelihood has risen.

    `hook`, called before each re-estimation, may move the model to new features.
    """
    frames, loglikes = None, []
    iterations = range(1, schedule.iterations)
    # The time that one takes grows with the Gaussians.
    work = sum(map(schedule.num_gauss, iterations))
    for iteration in progress(iterations, "iterations", work, schedule.num_gauss):
        if iteration in schedule.realign:
            tids, frames = aligner(model, feats), None
        if hook is not None:
            model, feats = hook(iteration, model, feats, tids)
        if frames is None:
            frames = PdfFrames.sort(tied_states(model.transitions, tids), model.gmms.num_pdfs)
        model, loglike = reestimate(model, feats, tids, frames, schedule, iteration, aligner.threads)
        loglikes.append(loglike)
    if loglikes:
        said = " -> ".join(f"{loglike:.4f}" for loglike in (loglikes[0], loglikes[-1]))
        say(f"  {len(loglikes)} iterations: {model.gmms.num_gauss} Gaussians, log-likelihood per frame {said}")
    return model, feats, tids


def reestimate(
    model: Model,
    feats: Frames,
    tids: Tids,
    frames: PdfFrames,
    schedule: Schedule,
    iteration: int,
    threads: int,
    min_occupancy: float = MIN_OCCUPANCY,
) -> tuple[Model, float]:
    """One iteration of EM and mixture splitting; with the log-likelihood per frame before it."""
    stats = accumulate(model.gmms, feats, frames, threads)
    gmms = update(model.gmms, stats, min_occupancy)
    gmms = mix_up(gmms, frames.counts, schedule.num_gauss(iteration), schedule.power, seed=iteration)
    return Model(update_transitions(model.transitions, tids), model.tree, gmms), stats.loglike / max(stats.frames, 1.0)
