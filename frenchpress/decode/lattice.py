"""The lightest paths of a lattice at many LM weights at once.

Shortest distances in an acyclic graph, states in an order in which every arc leads on (Cormen et al., "Introduction to
Algorithms", section 24.2); all weights side by side, and all states that as many arcs at most part from the start.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import kaldifst
import numpy as np
from numpy.typing import NDArray

_STATE = struct.Struct("<ffq")  # final costs, number of arcs
_ARC = np.dtype([("ilabel", "<i4"), ("word", "<i4"), ("graph", "<f4"), ("acoustic", "<f4"), ("dst", "<i4")])


@dataclass(frozen=True)
class LatticeArcs:
    """S states and A arcs, in order of source state.

    `finals` float64 [S, 2] (infinity where not final) and `costs` float64 [A, 2] are graph and acoustic costs;
    `src`, `dst`, `words` int64 [A].
    """

    start: int
    finals: NDArray[np.float64]
    src: NDArray[np.int64]
    dst: NDArray[np.int64]
    words: NDArray[np.int64]
    costs: NDArray[np.float64]

    @classmethod
    def of(cls, lattice: kaldifst.Lattice) -> LatticeArcs:
        """The arcs of a kaldifst lattice that can be reached from its start."""
        # Through a file: arc by arc over the Python interface takes ten times as long.
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "lattice"
            lattice.write(str(path))
            return cls.parse(path.read_bytes()).reachable()

    @classmethod
    def parse(cls, data: bytes) -> LatticeArcs:
        """From an OpenFst file of type vector over lattice weights, without symbol tables."""
        at = 4
        for _ in range(2):  # types of transducer and arc
            at += 4 + struct.unpack_from("<i", data, at)[0]
        header = struct.Struct("<iiQqqq")
        start, num_states = header.unpack_from(data, at)[3:5]
        at += header.size
        heads, finals, counts = [], [], []
        for _ in range(num_states):
            graph, acoustic, count = _STATE.unpack_from(data, at)
            heads.append(at + _STATE.size)
            finals.append((graph, acoustic))
            counts.append(count)
            at += _STATE.size + count * _ARC.itemsize
        src = np.repeat(np.arange(num_states), counts)
        in_state = np.arange(len(src)) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.array(heads)[src] + _ARC.itemsize * in_state
        arcs = np.frombuffer(data, np.uint8)[places[:, None] + np.arange(_ARC.itemsize)].view(_ARC)[:, 0]
        costs = np.stack([arcs["graph"], arcs["acoustic"]], 1).astype(np.float64)
        return cls(start, np.array(finals), src, arcs["dst"].astype(np.int64), arcs["word"].astype(np.int64), costs)

    def reachable(self) -> LatticeArcs:
        """Without the arcs that no way from the start leads to."""
        src, dst, words, costs = self.src, self.dst, self.words, self.costs
        while True:
            entered = np.bincount(dst, minlength=len(self.finals)) > 0
            entered[self.start] = True
            keep = entered[src]
            if keep.all():
                return LatticeArcs(self.start, self.finals, src, dst, words, costs)
            src, dst, words, costs = src[keep], dst[keep], words[keep], costs[keep]

    def levels(self) -> NDArray[np.int64]:
        """The most arcs [S] on any way to each state; 0 for the start and for states that cannot be reached."""
        entering = np.bincount(self.dst, minlength=len(self.finals))
        counts = np.bincount(self.src, minlength=len(self.finals))
        first = np.cumsum(counts) - counts
        level = np.zeros(len(self.finals), np.int64)
        states, depth = np.array([self.start]), 0
        while len(states):
            level[states] = depth
            many = counts[states]
            arcs = np.repeat(first[states] - np.cumsum(many) + many, many) + np.arange(many.sum())
            reached = self.dst[arcs]
            np.subtract.at(entering, reached, 1)
            states = np.unique(reached[entering[reached] == 0])
            depth += 1
        return level


def lightest_paths(
    lattice: LatticeArcs, scale: float, weights: Sequence[float]
) -> dict[float, tuple[list[int], float]]:
    """Words of the lightest path at each LM weight w, and its cost, w * graph + acoustic / `scale`."""
    factors = np.array([weights, np.full(len(weights), 1 / scale)])
    level = lattice.levels()
    place = np.empty(len(level), np.int64)  # of each state in the order of levels
    place[np.argsort(level, kind="stable")] = np.arange(len(level))
    order = np.argsort(place[lattice.dst], kind="stable")
    src, dst = place[lattice.src[order]], place[lattice.dst[order]]
    step = lattice.costs[order] @ factors
    cost = np.full((len(level), len(weights)), np.inf)
    cost[place[lattice.start]] = 0.0
    first = np.searchsorted(dst, np.arange(len(level)))
    begins = np.searchsorted(np.sort(level), np.arange(1, level.max() + 2))
    for begin, end in zip(begins[:-1], begins[1:]):
        arcs = slice(first[begin], first[end] if end < len(first) else len(dst))
        cost[begin:end] = np.minimum.reduceat(cost[src[arcs]] + step[arcs], first[begin:end] - arcs.start)
    best = np.full(cost.shape, -1)
    arc, column = np.nonzero(cost[src] + step == cost[dst])
    # Of arcs that are as good the first, which is written last.
    best[dst[arc[::-1]], column[::-1]] = arc[::-1]
    total = np.full(cost.shape, np.inf)
    final = np.isfinite(lattice.finals).all(1)
    total[place[final]] = cost[place[final]] + lattice.finals[final] @ factors
    ends = total.argmin(0)
    spoken = _trace_back(best, src, lattice.words[order], ends)
    return {w: (spoken[k], float(total[ends[k], k])) for k, w in enumerate(weights)}


def _trace_back(
    best: NDArray[np.int64], src: NDArray[np.int64], words: NDArray[np.int64], ends: NDArray[np.int64]
) -> list[list[int]]:
    """The words on the way to `ends` [W], by the arc `best` [S, W] into each state, -1 for the start."""
    columns, states = np.arange(len(ends)), ends
    said = []
    while (arcs := best[states, columns]).max(initial=-1) >= 0:
        going = arcs >= 0
        said.append(np.where(going, words[arcs], 0))
        states = np.where(going, src[arcs], states)
    return [
        [int(word) for word in column[::-1] if word] for column in np.array(said, np.int64).reshape(-1, len(ends)).T
    ]
