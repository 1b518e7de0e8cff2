"""Optimisations that keep a transducer's paths and their costs: symbols and epsilons removed, weights pushed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from frenchpress.graph.fst import FstArcs, arcs_from_rows

Arc = tuple[int, int, float, int]  # ilabel, olabel, cost, destination


def remove_symbols(graph: FstArcs, last: int) -> FstArcs:
    """Input labels above `last` (disambiguation symbols) become epsilon."""
    return replace(graph, ilabel=np.where(graph.ilabel > last, 0, graph.ilabel).astype(np.int32))


def push_special(graph: FstArcs, tolerance: float = 1e-3, max_iters: int = 200) -> FstArcs:
    """Move costs along the arcs so that exp(-cost) sums to (nearly) one number over what leaves each state.

    Every path keeps its cost. A grammar with back-off sums to different values in different states, which ordinary
    pushing would move all the way to the start; the potentials used here are the leading eigenvector of the matrix
    of arc probabilities, the final ones leading back to the start, found by the power method.
    """
    arcs = np.exp(-graph.weight.astype(np.float64))
    final = np.exp(-graph.finals.astype(np.float64))
    potential = np.ones(graph.num_states)
    for _ in range(max_iters):
        total = np.bincount(graph.src, arcs * potential[graph.dst], graph.num_states)
        total += final * potential[graph.start]
        ratio = total / potential
        if ratio.max() < ratio.min() * (1 + tolerance):
            break
        # The mean with the previous vector keeps a graph with a period from swinging forever.
        potential = total / total.mean() + potential
        potential /= potential.mean()
    height = np.log(potential)
    return replace(
        graph,
        weight=(graph.weight + height[graph.src] - height[graph.dst]).astype(np.float32),
        finals=(graph.finals + height - height[graph.start]).astype(np.float32),
    )


def remove_epsilons_locally(graph: FstArcs) -> FstArcs:
    """Merge two arcs in a row into one wherever that adds no arc and their labels leave room for each other.

    That is: into a state with one way out, or out of a state with one way in. Epsilons that would multiply, such
    as those into a back-off state, stay.
    """
    work = _EpsilonRemoval(graph)
    has_epsilon = np.zeros(graph.num_states, bool)
    has_epsilon[graph.src[graph.ilabel == 0]] = True
    has_epsilon |= np.isfinite(graph.finals)
    pending = np.unique(graph.src[(graph.ilabel == 0) | has_epsilon[graph.dst]]).tolist()
    while pending:
        pending = sorted({touched for state in pending for touched in work.visit(state)})
    return work.result()


class _EpsilonRemoval:
    """Adjacency lists, changed in place; unreachable states are left over for `connect` to sweep."""

    def __init__(self, graph: FstArcs) -> None:
        self.start = graph.start
        self.finals = graph.finals.tolist()
        self.out: list[list[Arc]] = [[] for _ in range(graph.num_states)]
        self.ways_in = np.bincount(graph.dst, minlength=graph.num_states).tolist()
        self.ways_in[graph.start] += 1
        columns = (graph.src, graph.ilabel, graph.olabel, graph.weight, graph.dst)
        for src, *arc in zip(*(column.tolist() for column in columns)):
            self.out[src].append(tuple(arc))

    def visit(self, state: int) -> list[int]:
        """Merge what follows the arcs of a state; returns the states worth another visit."""
        if not self.ways_in[state]:
            return []
        arcs, changed = self.out[state], False
        self.out[state] = []
        for arc in arcs:
            changed |= self._merge(state, arc)
        return [state] if changed else []

    def _merge(self, state: int, arc: Arc) -> bool:
        """Put an arc back into its state, merged with what follows it if possible; True if it was."""
        middle = arc[3]
        is_final = self.finals[middle] != float("inf")
        following = self.out[middle]
        if middle != state and len(following) + is_final == 1 and self._skip(state, arc, is_final):
            return True
        if middle == state or self.ways_in[middle] != 1:
            self.out[state].append(arc)
            return False
        return self._pull(state, arc)

    def _skip(self, state: int, arc: Arc, is_final: bool) -> bool:
        """Go past a state that has one way out, which others may still use."""
        middle = arc[3]
        if is_final:
            if arc[0] or arc[1]:
                return False
            self.finals[state] = min(self.finals[state], arc[2] + self.finals[middle])
        else:
            after = self.out[middle][0]
            if after[3] == middle or not _fit(arc, after):
                return False
            self.out[state].append(_joined(arc, after))
            self.ways_in[after[3]] += 1
        self._leave(middle)
        return True

    def _pull(self, state: int, arc: Arc) -> bool:
        """Take over the ways out of a state that only `arc` enters, those that fit."""
        middle = arc[3]
        fitting = [after for after in self.out[middle] if after[3] != middle and _fit(arc, after)]
        take_final = not (arc[0] or arc[1]) and self.finals[middle] != float("inf")
        self.out[state] += [_joined(arc, after) for after in fitting]
        self.out[middle] = [after for after in self.out[middle] if after not in fitting]
        if take_final:
            self.finals[state] = min(self.finals[state], arc[2] + self.finals[middle])
            self.finals[middle] = float("inf")
        if self.out[middle] or self.finals[middle] != float("inf"):
            self.out[state].append(arc)
        else:
            self.ways_in[middle] -= 1
        return bool(fitting) or take_final

    def _leave(self, middle: int) -> None:
        """One way less into a state; with none left its own arcs are gone too."""
        self.ways_in[middle] -= 1
        if not self.ways_in[middle]:
            for after in self.out[middle]:
                self.ways_in[after[3]] -= 1
            self.out[middle] = []
            self.finals[middle] = float("inf")

    def result(self) -> FstArcs:
        """What is left, numbered as before."""
        rows = [(src, *arc) for src, arcs in enumerate(self.out) for arc in arcs]
        return arcs_from_rows(self.start, np.array(self.finals, np.float32), rows)


def _fit(first: Arc, second: Arc) -> bool:
    return not (first[0] and second[0]) and not (first[1] and second[1])


def _joined(first: Arc, second: Arc) -> Arc:
    return first[0] or second[0], first[1] or second[1], first[2] + second[2], second[3]
