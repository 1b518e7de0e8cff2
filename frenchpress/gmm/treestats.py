"""What a phonetic decision tree is grown from: per phone in context and state, a count and sums of the frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.gmm.corpus import Corpus, Frames
from frenchpress.gmm.gmms import Array
from frenchpress.kaldi.transition import TransitionModel

VARIANCE_FLOOR = 0.01


@dataclass
class TreeStats:
    """Row r: frames of the phone `windows[r, 1]` between its neighbours (0: none, or not looked at), in a pdf class.

    windows int [R, 3], pdf_class int [R], moments float64 [R, 1 + 2 D]: count, sums, sums of squares.
    """

    windows: NDArray[np.int64]
    pdf_class: NDArray[np.int64]
    moments: Array


@dataclass
class Segments:
    """Phones in time: S segments of F frames. `starts` [S + 1] frames; `windows` [S, 3] with 0 beyond an utterance."""

    starts: NDArray[np.int64]
    windows: NDArray[np.int64]

    def of_frame(self) -> NDArray[np.int64]:
        """The segment of each frame [F]."""
        return np.repeat(np.arange(len(self.windows)), np.diff(self.starts))


def segment(corpus: Corpus, transitions: TransitionModel, tids: NDArray[np.int32]) -> Segments:
    """Cut an alignment [F] into phones; an utterance without alignment is one segment of phone 0.

    A phone begins where its first state is entered, which the alignment shows by the id of leaving it.
    """
    frames = len(tids)
    utterance = np.zeros(frames, bool)
    utterance[corpus.offsets[:-1]] = True
    entered = (tids > 0) & (transitions.tid2hmm_state[tids] == 0) & ~transitions.tid2is_self_loop[tids]
    starts = np.flatnonzero(entered | utterance)
    phones = np.where(tids[starts] > 0, transitions.tid2phone[tids[starts]], 0).astype(np.int64)
    first = utterance[starts]
    left = np.where(first, 0, np.roll(phones, 1))
    right = np.where(np.roll(first, -1), 0, np.roll(phones, -1))
    return Segments(np.append(starts, frames), np.stack([left, phones, right], 1))


def tree_stats(
    corpus: Corpus,
    transitions: TransitionModel,
    tids: NDArray[np.int32],
    feats: Frames,
    context_free: set[int],
) -> TreeStats:
    """Accumulate over a corpus; phones in `context_free` (silence) are kept without their neighbours."""
    segments = segment(corpus, transitions, tids)
    windows = segments.windows.copy()
    free = np.isin(windows[:, 1], list(context_free))
    windows[free, 0] = windows[free, 2] = 0
    classes = _pdf_classes(transitions)[tids]
    size = int(windows.max()) + 1
    num_classes = int(classes.max()) + 1
    of_segment = (windows[:, 0] * size + windows[:, 1]) * size + windows[:, 2]
    key = of_segment[segments.of_frame()] * num_classes + classes
    key[tids == 0] = -1
    order = np.argsort(key, kind="stable")
    order = order[np.searchsorted(key[order], 0) :]
    values, begins = np.unique(key[order], return_index=True)
    moments = _sums(feats, order, np.append(begins, len(order)))
    coded, pdf_class = np.divmod(values, num_classes)
    windows = np.stack([coded // size**2, coded // size % size, coded % size], 1)
    return TreeStats(windows, pdf_class, moments)


def _pdf_classes(transitions: TransitionModel) -> NDArray[np.int64]:
    """The pdf class of each transition-id."""
    classes = np.zeros(transitions.num_tids + 1, np.int64)
    for tid in range(1, len(classes)):
        states = transitions.topo.states(int(transitions.tid2phone[tid]))
        classes[tid] = states[int(transitions.tid2hmm_state[tid])][0]
    return classes


def _sums(feats: Frames, order: NDArray[np.int64], bounds: NDArray[np.int64]) -> Array:
    """Count, sums and sums of squares [R, 1 + 2 D] of the frames order[bounds[r]:bounds[r + 1]]."""
    dim = feats.shape[1]
    moments = np.empty((len(bounds) - 1, 1 + 2 * dim))
    for row, (begin, end) in enumerate(zip(bounds[:-1], bounds[1:])):
        part = feats[order[begin:end]].astype(np.float64)
        moments[row, 0] = end - begin
        moments[row, 1 : 1 + dim] = part.sum(0)
        moments[row, 1 + dim :] = np.einsum("td,td->d", part, part)
    return moments


def log_likelihood(moments: Array) -> Array:
    """Log-likelihood [...] of the frames of `moments` [..., 1 + 2 D] under their own Gaussian, variances floored."""
    dim = (moments.shape[-1] - 1) // 2
    count = moments[..., :1]
    safe = np.maximum(count, 1e-10)
    var = moments[..., 1 + dim :] / safe - (moments[..., 1 : 1 + dim] / safe) ** 2
    floored = np.maximum(var, VARIANCE_FLOOR)
    per_frame = -0.5 * (var / floored + np.log(floored) + np.log(2 * np.pi)).sum(-1)
    return np.where(count[..., 0] > 1e-5, per_frame * count[..., 0], 0.0)
