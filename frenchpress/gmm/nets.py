"""Alignment networks: every way to speak a transcript, as HMM states and the steps between them.

Before, between and after the phones of a transcript there may be optional silence. With a tree that asks for
neighbours each phone stands in the network once per pair of neighbours it can have (phone or silence on each side).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.kaldi.topology import HmmTopology
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.kaldi.tree import ContextTree

NEVER = np.float32(-1e20)  # the log-probability of what cannot be; finite, so that sums of it stay numbers


@dataclass
class AlignNet:
    """The S states of one utterance.

    forward, loop [S]: transition-ids of leaving (also counted for the first frame of a visit) and of staying.
    previous int32 [S, 2], entry float32 [S, 2]: the at most two states that lead here, with log-probabilities.
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


def build_net(phones: Sequence[int], states: HmmStates, silence: int, sil_prob: float) -> AlignNet:
    """The network of a transcript; `sil_prob` 0 means that silence stands only where the transcript has it."""
    return _Builder(phones, states, silence, sil_prob).net()


class _Builder:
    """Adds phones one after the other, each as a block of states per pair of neighbours."""

    def __init__(self, phones: Sequence[int], states: HmmStates, silence: int, sil_prob: float) -> None:
        if not len(phones):
            raise UserError("empty transcript: an utterance needs at least one phone")
        self._states = states
        self._silence = silence
        self._sil = np.log(sil_prob) if sil_prob > 0 else None
        self._direct = np.log1p(-sil_prob)
        self._tids: list[NDArray[np.int32]] = []
        self._entries: list[list[tuple[int, float]]] = []  # per block of states: (state before it, log-probability)
        self._starts: list[float] = []
        self._firsts: list[int] = []
        self._size = 0
        self._triphone = states.tree.N == 3
        if states.tree.N not in (1, 3):
            raise UserError(f"tree: context of {states.tree.N} phones; training handles 1 and 3")
        self._phones = [0, *map(int, phones), 0]

    def net(self) -> AlignNet:
        into_silence: list[tuple[int, float]] = []
        into_phone: list[tuple[int, float]] = []
        last = len(self._phones) - 2
        for place in range(1, last + 1):
            begin = place == 1
            silence = self._optional_silence(place - 1, into_silence, begin)
            into_phone, into_silence = self._phone(place, into_phone, silence, begin)
        silence = self._optional_silence(last, into_silence, False)
        ends = [(state, self._direct) for state, _ in into_phone] + [(state, 0.0) for state in silence]
        return self._finish(ends)

    def _optional_silence(self, place: int, before: list[tuple[int, float]], begin: bool) -> list[int]:
        """Silence between the phones at `place` and the next: its last state, or nothing."""
        if self._sil is None:
            return []
        window = (self._phones[place], self._silence, self._phones[place + 1])
        return [self._block(window, before, self._sil if begin else NEVER)]

    def _phone(
        self, place: int, before: list[tuple[int, float]], silence: list[int], begin: bool
    ) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
        """All variants of the phone; what leads on into the next phone, and into silence after this one."""
        left, phone, right = self._phones[place - 1 : place + 2]
        start = self._direct if begin else NEVER
        from_silence = [(state, 0.0) for state in silence]
        if not self._triphone:
            end = self._block((left, phone, right), before + from_silence, start)
            return [(end, self._direct)], [(end, self._sil or 0.0)]
        into: tuple[list, list] = ([], [])
        ways = [(left, before, start)] + ([(self._silence, from_silence, NEVER)] if silence else [])
        for side, next_phone in enumerate([right] + ([self._silence] if self._sil is not None else [])):
            for left_phone, entries, begins in ways:
                end = self._block((left_phone, phone, next_phone), entries, begins)
                into[side].append((end, self._sil if side else self._direct))
        return into

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
        size = len(tids)
        # Inside a phone the one way in is from the state before.
        previous = np.stack([np.arange(size) - 1, np.arange(size)], 1).astype(np.int32)
        entry = np.tile(np.array([0, NEVER], np.float32), (size, 1))
        start, final = np.full((2, size), NEVER, np.float32)
        for first, entries, begin in zip(self._firsts, self._entries, self._starts):
            previous[first], entry[first], start[first] = first, NEVER, begin
            for way, (state, log_prob) in enumerate(entries):
                previous[first, way], entry[first, way] = state, log_prob
        for state, log_prob in ends:
            final[state] = log_prob
        return AlignNet(tids[:, 0].copy(), tids[:, 1].copy(), previous, entry, start, final)
