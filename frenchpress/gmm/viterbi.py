"""The best state sequence of many utterances at a time.

Source: Viterbi's algorithm as in Rabiner, "A tutorial on hidden Markov models", Proc. IEEE 77(2), 1989, section III.B.
No beam: the search is exact. Time is the only loop; the states of all utterances of a batch lie side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.gmm.em import run_threads
from frenchpress.gmm.gmms import GmmSet
from frenchpress.gmm.loglikes import LogLikes
from frenchpress.gmm.nets import NEVER, AlignNet
from frenchpress.kaldi.transition import TransitionModel

ACOUSTIC_SCALE = 0.1
SELF_LOOP_SCALE = 0.1
_STATES_AT_ONCE = 24_000  # side by side: fits the processor's cache
_CELLS_AT_ONCE = 12_000_000  # states times frames of a batch: bounds memory


@dataclass
class _Batch:
    """States of B utterances in rows of S, padded, n = B * S in all; the longest utterance first.

    Most states are entered from the state before them, at `inner` [n]. The E others, at flat index `doors` [E] in
    order, have W ways in: from states `ways` [W, E] at `toll` [W, E]. W is 2, or more where words have several
    pronunciations.
    """

    lengths: NDArray[np.int64]  # [B] frames
    inner: NDArray[np.float32]
    doors: NDArray[np.int64]
    ways: NDArray[np.int64]
    toll: NDArray[np.float32]
    stay: NDArray[np.float32]  # [n]
    start: NDArray[np.float32]  # [B, S]
    final: NDArray[np.float32]  # [B, S]


def best_paths(
    nets: Sequence[AlignNet], acoustics: Sequence[NDArray[np.float32]], log_probs: NDArray[np.float32]
) -> list[tuple[NDArray[np.int32], float] | None]:
    """Transition-ids [T] and log score of the best path per utterance; None where none has so few frames.

    `acoustics` [T, S]: scaled log-likelihoods per frame and state; `log_probs`: scaled, by transition-id.
    """
    order = sorted(range(len(nets)), key=lambda k: (-len(acoustics[k]), k))
    batch = _gather([nets[k] for k in order], [len(acoustics[k]) for k in order], log_probs)
    search = _Search(batch, [acoustics[k] for k in order])
    last, scores = search.forward()
    states, entered = search.trace_back(last)
    found: list[tuple[NDArray[np.int32], float] | None] = [None] * len(nets)
    for row, k in enumerate(order):
        if scores[row] > NEVER / 2:
            path, first = states[: batch.lengths[row], row], entered[: batch.lengths[row], row]
            found[k] = np.where(first, nets[k].forward[path], nets[k].loop[path]), float(scores[row])
    return found


def _gather(nets: list[AlignNet], lengths: list[int], log_probs: NDArray[np.float32]) -> _Batch:
    width = max(map(len, nets))
    rows, most = len(nets), max(net.previous.shape[1] for net in nets)
    inner, stay, start, final = np.full((4, rows, width), NEVER, np.float32)
    doors, ways, toll = [], [], []
    for row, net in enumerate(nets):
        size = len(net)
        # A visit pays for leaving when it begins: each state that is entered is left exactly once.
        leave = log_probs[net.forward]
        door = np.flatnonzero((net.previous[:, 0] != np.arange(size) - 1) | (net.entry[:, 1] > NEVER))
        doors.append(door + row * width)
        missing = ((0, most - net.previous.shape[1]), (0, 0))
        ways.append(np.pad(net.previous[door].T, missing) + row * width)
        toll.append(np.pad((net.entry[door] + leave[door, None]).T, missing, constant_values=NEVER))
        inner[row, :size] = net.entry[:, 0] + leave
        inner[row, door] = NEVER
        stay[row, :size] = log_probs[net.loop]
        start[row, :size] = net.start + leave
        final[row, :size] = net.final
    # A row's first state never follows the last one of the row before.
    inner[:, 0] = NEVER
    return _Batch(
        np.array(lengths),
        inner.reshape(-1),
        np.concatenate(doors).astype(np.int64),
        np.concatenate(ways, axis=1).astype(np.int64),
        np.concatenate(toll, axis=1).astype(np.float32),
        stay.reshape(-1),
        start,
        final,
    )


class _Search:
    """The scores of a batch as time goes on, and the choices made on the way."""

    def __init__(self, batch: _Batch, acoustics: list[NDArray[np.float32]]) -> None:
        rows, width = batch.start.shape
        self.batch = batch
        self.frames = int(batch.lengths[0])
        heard = np.zeros((self.frames, rows, width), np.float32)
        for row, matrix in enumerate(acoustics):
            heard[: len(matrix), row, : matrix.shape[1]] = matrix
        self._heard = heard.reshape(self.frames, -1)
        self._enters = np.zeros((self.frames, rows * width), bool)
        # Whether each further way is better than all before it.
        self._better = np.zeros((len(batch.ways) - 1, self.frames, len(batch.doors)), bool)
        self._further = list(zip(batch.ways[1:], batch.toll[1:], self._better))
        self._way, self._stay = np.full((2, rows * width), NEVER, np.float32)
        self._scores = (batch.start + heard[0]).reshape(-1)
        # Utterances still going on at each time, and how many states and doors they have.
        self._active = [int(np.count_nonzero(batch.lengths > t)) for t in range(self.frames + 1)]
        self._doors = np.searchsorted(batch.doors, np.arange(rows + 1) * width).tolist()

    def forward(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The best last state [B] and its score [B]."""
        rows, width = self.batch.start.shape
        last, score = np.zeros(rows, np.int64), np.full(rows, NEVER, np.float32)
        for t in range(1, self.frames + 1):
            active, before = self._active[t], self._active[t - 1]
            if active < before:
                ends = (self._scores.reshape(rows, width) + self.batch.final)[active:before]
                last[active:before], score[active:before] = ends.argmax(1), ends.max(1)
            if active:
                self._step(t, active * width, self._doors[active])
        return last, score

    def _step(self, t: int, n: int, doors: int) -> None:
        """Frame t for the first n states."""
        batch, scores, way, stay = self.batch, self._scores[:n], self._way[:n], self._stay[:n]
        best = scores.take(batch.ways[0, :doors])
        best += batch.toll[0, :doors]
        for ways, toll, better in self._further:
            other = scores.take(ways[:doors])
            other += toll[:doors]
            np.greater(other, best, out=better[t, :doors])
            np.maximum(best, other, out=best)
        np.add(scores[:-1], batch.inner[1:n], out=way[1:])
        way[batch.doors[:doors]] = best
        np.add(scores, batch.stay[:n], out=stay)
        np.greater(way, stay, out=self._enters[t, :n])
        np.maximum(way, stay, out=scores)
        scores += self._heard[t, :n]

    def trace_back(self, last: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """State [T, B], and whether it was entered at that frame [T, B]; junk beyond an utterance's length."""
        rows, width = self.batch.start.shape
        door_of = np.full(rows * width, -1)
        door_of[self.batch.doors] = np.arange(len(self.batch.doors))
        states = np.zeros((self.frames, rows), np.int32)
        entered = np.zeros((self.frames, rows), bool)
        first = np.arange(rows) * width
        state = last + first
        for t in range(self.frames - 1, -1, -1):
            n = self._active[t]
            here = state[:n]
            states[t, :n] = here - first[:n]
            entered[t, :n] = enters = self._enters[t, here] | (t == 0)
            door = door_of[here]
            chosen = self._better[0][t, door].astype(np.int64)
            for k, better in enumerate(self._better[1:], 2):
                chosen[better[t, door]] = k
            through = self.batch.ways[chosen, door]
            state[:n] = np.where(enters, np.where(door >= 0, through, here - 1), here)
        return states, entered


def scaled_log_probs(transitions: TransitionModel, self_loop_scale: float = SELF_LOOP_SCALE) -> NDArray[np.float32]:
    """Log-probabilities by transition-id as alignment weighs them, for states with a self-loop and one way on."""
    return (self_loop_scale * transitions.log_probs).astype(np.float32)


def align(
    nets: Sequence[AlignNet | None],
    feats: Callable[[int], NDArray[np.float32]],
    lengths: Sequence[int],
    transitions: TransitionModel,
    gmms: GmmSet,
    threads: int = 1,
) -> list[tuple[NDArray[np.int32], float] | None]:
    """Transition-ids [T] and score of each utterance; `feats(k)` gives the features of utterance k [T, D].

    None where there is no network or too few frames. The score leaves out a constant per frame.
    """
    loglikes = LogLikes(gmms)
    log_probs = scaled_log_probs(transitions)
    found: list[tuple[NDArray[np.int32], float] | None] = [None] * len(nets)

    def acoustic(k: int) -> NDArray[np.float32]:
        pdfs, index = np.unique(transitions.tid2pdf[nets[k].forward], return_inverse=True)
        scores = loglikes(feats(k), pdfs).numpy() * np.float32(ACOUSTIC_SCALE)
        # Relative to the best state, so that sums over long utterances keep their precision in float32.
        return (scores - scores.max(1, keepdims=True))[:, index]

    batches = _batches([0 if net is None else len(net) for net in nets], lengths)

    def work(number: int) -> None:
        members = batches[number]
        paths = best_paths([nets[k] for k in members], [acoustic(k) for k in members], log_probs)
        for k, path in zip(members, paths):
            found[k] = path

    frames = [sum(lengths[k] for k in members) for members in batches]
    run_threads(work, list(range(len(batches))), threads, "alignment", frames)
    return found


def _batches(sizes: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """Utterances of like length together, the longest first."""
    usable = [k for k in range(len(sizes)) if sizes[k] and lengths[k]]
    batches: list[list[int]] = []
    width = 0
    for k in sorted(usable, key=lambda k: (-lengths[k], -sizes[k], k)):
        width = max(width, sizes[k])
        side_by_side = width * (len(batches[-1]) + 1) if batches else 0
        frames = lengths[batches[-1][0]] if batches else 0
        if not batches or side_by_side > _STATES_AT_ONCE or side_by_side * frames > _CELLS_AT_ONCE:
            batches.append([])
            width = sizes[k]
        batches[-1].append(k)
    return batches
