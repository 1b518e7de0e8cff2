"""Alignment networks: every way to speak a transcript, as HMM states and the steps between them.

Before, between and after the phones of a transcript there may be optional silence. With a tree that asks for
neighbours each phone stands in the network once per pair of neighbours it can have (phone or silence on each side).
A word with several pronunciations has them side by side, as in Kaldi's training graphs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.kaldi.topology import HmmTopology
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.kaldi.tree import ContextTree

_PAUSE = -1  # optional silence, as what stands beside a phone
NEVER = np.float32(-1e20)  # the log-probability of what cannot be; finite, so that sums of it stay numbers


@dataclass
class AlignNet:
    """The S states of one utterance.

    forward, loop [S]: transition-ids of leaving (also counted for the first frame of a visit) and of staying.
    previous int32 [S, W], entry float32 [S, W]: the states that lead here, with log-probabilities; W is 2, or more
    where words have several pronunciations.
    start, final float32 [S]: log-probability of beginning and of ending here.
    """

    forward: NDArray[np.int32]
    loop: NDArray[np.int32]
    previous: NDArray[np.int32]
    entry: NDArray[np.float32]
    start: NDArray[np.float32]
    final: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.forward)


class HmmStates:
    """The transition-ids of the states of a phone in context: a tree and a transition model, asked once per window."""

    def __init__(self, transitions: TransitionModel, tree: ContextTree) -> None:
        check_topology(transitions.topo)
        self.transitions = transitions
        self.tree = tree
        self._known: dict[tuple[int, ...], NDArray[np.int32]] = {}

    def __call__(self, window: tuple[int, ...]) -> NDArray[np.int32]:
        """Transition-ids [states, 2] (leave, stay) of the phone at the middle of `window` (tree.N phones)."""
        if window not in self._known:
            self._known[window] = self._look_up(window)
        return self._known[window]

    def _look_up(self, window: tuple[int, ...]) -> NDArray[np.int32]:
        phone = window[self.tree.P]
        found = []
        for number, (pdf_class, arcs) in enumerate(self.transitions.topo.states(phone)[:-1]):
            row = self.transitions.tuple_index(phone, number, self.tree.pdf(window, pdf_class))
            loop = next(k for k, (target, _) in enumerate(arcs) if target == number)
            found.append((self.transitions.tid(row, 1 - loop), self.transitions.tid(row, loop)))
        return np.array(found, np.int32)


def check_topology(topo: HmmTopology) -> None:
    """UserError unless all phones are states in a row, each with a self-loop and one way on."""
    for phone in topo.phones:
        for number, state in enumerate(topo.entry(phone)[:-1]):
            if sorted(target for target, _ in state.arcs) != [number, number + 1]:
                raise UserError(
                    f"topo: phone {phone}, state {number}: training handles states in a row, each with a self-loop "
                    "and an arc to the next state, only"
                )


Choices = Sequence[tuple[Sequence[int], float]]
"""The pronunciations of a word: phones, and the log-probability of each."""


def build_net(transcript: Sequence[int | Choices], states: HmmStates, silence: int, sil_prob: float) -> AlignNet:
    """The network of a transcript, which has phones, or words with the pronunciations that they may have.

    `sil_prob` 0 means that silence stands only where the transcript has it.
    """
    return _Builder(_arcs(transcript), states, silence, sil_prob).net()


def _arcs(transcript: Sequence[int | Choices]) -> list[tuple[int, int, int, float]]:
    """(from, to, phone, log-probability) between junctions, which are numbered so that all arcs lead upwards."""
    arcs: list[tuple[int, int, int, float]] = []
    here, free = 0, 1
    for word in transcript:
        last = []
        for phones, log_prob in [((word,), 0.0)] if isinstance(word, (int, np.integer)) else word:
            at = here
            for phone in phones[:-1]:
                arcs.append((at, free, int(phone), log_prob))
                at, free, log_prob = free, free + 1, 0.0
            last.append((at, int(phones[-1]), log_prob))
        arcs += [(at, free, phone, log_prob) for at, phone, log_prob in last]
        here, free = free, free + 1
    return arcs


class _Builder:
    """Adds phones junction by junction, each as a block of states per pair of neighbours.

    `_phones[v, p, n]`: last states of the phones p that end at junction v and are followed by n; `_pauses[v, p, n]`:
    those of optional silence at v between p and n. Without context all phones count as one, 0.
    """

    def __init__(
        self, arcs: list[tuple[int, int, int, float]], states: HmmStates, silence: int, sil_prob: float
    ) -> None:
        if not arcs:
            raise UserError("empty transcript: an utterance needs at least one phone")
        if states.tree.N not in (1, 3):
            raise UserError(f"tree: context of {states.tree.N} phones; training handles 1 and 3")
        self._states, self._triphone = states, states.tree.N == 3
        self._silence = silence
        self._pause = [_PAUSE] if sil_prob > 0 else []
        self._sil, self._direct = np.log(sil_prob) if sil_prob > 0 else 0.0, np.log1p(-sil_prob)
        self._tids: list[NDArray[np.int32]] = []
        self._entries: list[list[tuple[int, float]]] = []  # per block of states: (state before it, log-probability)
        self._starts: list[float] = []
        self._firsts: list[int] = []
        self._size = 0
        self._leaving: defaultdict[int, list[tuple[int, int, int, float]]] = defaultdict(list)
        self._phones: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)
        self._pauses: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)
        self._last = max(arc[1] for arc in arcs)
        before, after = defaultdict(dict), defaultdict(dict)
        for arc in arcs:
            self._leaving[arc[0]].append(arc)
            after[arc[0]][self._key(arc[2])] = before[arc[1]][self._key(arc[2])] = None
        self._before = [list(before[v]) or [0] for v in range(self._last + 1)]
        self._after = [list(after[v]) or [0] for v in range(self._last + 1)]

    def _key(self, phone: int) -> int:
        return phone if self._triphone else 0

    def net(self) -> AlignNet:
        for place in range(self._last + 1):
            for left, right in product(self._before[place], self._after[place]) if self._pause else ():
                entries = [(state, self._sil) for state in self._phones[place, left, _PAUSE]]
                end = self._block((left, self._silence, right), entries, NEVER if place else self._sil)
                self._pauses[place, left, right].append(end)
            for arc in self._leaving[place]:
                self._add(*arc)
        ends = [(s, self._direct) for left in self._before[self._last] for s in self._phones[self._last, left, 0]]
        ends += [(s, 0.0) for left in self._before[self._last] for s in self._pauses[self._last, left, 0]]
        return self._finish(ends)

    def _add(self, here: int, there: int, phone: int, log_prob: float) -> None:
        """All variants of a phone between two junctions."""
        direct = self._direct + log_prob
        start = NEVER if here else direct
        key = self._key(phone)
        paused = [(s, log_prob) for left in self._before[here] for s in self._pauses[here, left, key]]
        if not self._triphone:
            end = self._block((0, phone, 0), [(s, direct) for s in self._phones[here, 0, 0]] + paused, start)
            for right in (0, *self._pause):
                self._phones[there, 0, right].append(end)
            return
        ways = [(x, [(s, direct) for s in self._phones[here, x, phone]], start) for x in self._before[here]]
        if self._pause:
            ways.append((self._silence, paused, NEVER))
        for right in [*self._after[there], *self._pause]:
            next_phone = self._silence if right == _PAUSE else right
            self._phones[there, phone, right] += [
                self._block((left, phone, next_phone), entries, begin) for left, entries, begin in ways
            ]

    def _block(self, window: tuple[int, int, int], entries: list[tuple[int, float]], start: float) -> int:
        """The states of one phone in context; returns the last one's number."""
        tids = self._states(window if self._triphone else window[1:2])
        self._tids.append(tids)
        self._entries.append(entries)
        self._starts.append(start)
        self._firsts.append(self._size)
        self._size += len(tids)
        return self._size - 1

    def _finish(self, ends: list[tuple[int, float]]) -> AlignNet:
        tids = np.concatenate(self._tids)
        size, ways = len(tids), max(2, *map(len, self._entries))
        # Inside a phone the one way in is from the state before.
        previous = np.repeat(np.arange(size, dtype=np.int32)[:, None], ways, 1)
        previous[:, 0] -= 1
        entry = np.full((size, ways), NEVER, np.float32)
        entry[:, 0] = 0
        start, final = np.full((2, size), NEVER, np.float32)
        for first, entries, begin in zip(self._firsts, self._entries, self._starts):
            previous[first], entry[first], start[first] = first, NEVER, begin
            for way, (state, log_prob) in enumerate(entries):
                previous[first, way], entry[first, way] = state, log_prob
        for state, log_prob in ends:
            final[state] = log_prob
        return AlignNet(tids[:, 0].copy(), tids[:, 1].copy(), previous, entry, start, final)
