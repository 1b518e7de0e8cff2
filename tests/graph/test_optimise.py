"""Optimisations: paths and costs stay as they were."""

import kaldifst
import numpy as np
import pytest

from frenchpress.graph.fst import FstArcs, arcs_from_rows
from frenchpress.graph.optimise import push_special, remove_epsilons_locally, remove_symbols


def random_graph(rng, states=12, arcs=30, labels=3):
    """Random, about half of its labels epsilon, no cycles of epsilons (those arcs go upward only)."""
    rows = []
    for _ in range(arcs):
        src, dst = rng.integers(states, size=2).tolist()
        ilabel, olabel = (int(rng.integers(1, labels + 1)) * int(rng.integers(2)) for _ in range(2))
        if not ilabel and src >= dst:
            ilabel = 1
        rows.append((src, ilabel, olabel, float(rng.integers(8)) / 4, dst))
    finals = np.where(rng.random(states) < 0.3, 1.0, np.inf).astype(np.float32)
    finals[-1] = 0.0
    return arcs_from_rows(0, finals, rows)


def test_epsilon_removal_keeps_the_relation(best_path):
    rng = np.random.default_rng(0)
    removed = paths = 0
    for _ in range(60):
        graph = random_graph(rng)
        smaller = remove_epsilons_locally(graph)
        assert smaller.num_arcs <= graph.num_arcs
        removed += graph.num_arcs - smaller.num_arcs
        before, after = graph.build(), smaller.build()
        for _ in range(15):
            inputs = rng.integers(1, 4, size=rng.integers(1, 5)).tolist()
            expected, found = best_path(before, inputs), best_path(after, inputs)
            assert (expected is None) == (found is None)
            if expected:
                paths += 1
                assert found[0] == pytest.approx(expected[0])
    assert removed > 40 and paths > 100


def test_chain_becomes_one_arc():
    rows = [(0, 0, 5, 0.5, 1), (1, 7, 0, 0.25, 2), (2, 0, 0, 1.0, 3)]
    graph = arcs_from_rows(0, np.array([np.inf, np.inf, np.inf, 0.5], np.float32), rows)
    fst = remove_epsilons_locally(graph).build()
    kaldifst.connect(fst)
    left = FstArcs.of(fst)
    assert (left.num_arcs, left.ilabel[0], left.olabel[0]) == (1, 7, 5)
    assert left.weight.sum() + left.finals[left.dst[0]] == pytest.approx(2.25)


def test_back_off_epsilons_stay():
    """Two ways into state 2, two ways out of it, and of either state that leads to it: nothing to gain."""
    rows = [(0, 0, 0, 1.0, 2), (1, 0, 0, 1.0, 2), (0, 1, 1, 0.0, 1), (1, 3, 3, 0.0, 0)]
    rows += [(2, 1, 1, 0.0, 0), (2, 2, 2, 0.0, 1)]
    graph = arcs_from_rows(0, np.array([0.0, np.inf, np.inf], np.float32), rows)
    assert (remove_epsilons_locally(graph).ilabel == 0).sum() == 2


def test_pushing_keeps_paths_and_evens_out_states(best_path):
    rng = np.random.default_rng(1)
    size = 6
    probabilities = rng.dirichlet(np.ones(size + 1), size=size) * rng.uniform(0.3, 1, (size, 1))
    rows = [(s, 1 + d, 1 + d, -np.log(probabilities[s, d]), d) for s in range(size) for d in range(size)]
    graph = arcs_from_rows(0, -np.log(probabilities[:, size]).astype(np.float32), rows)
    pushed = push_special(graph)
    sums = np.bincount(pushed.src, np.exp(-pushed.weight)) + np.exp(-pushed.finals)
    assert sums.max() < 1.002 * sums.min()
    before, after = graph.build(), pushed.build()
    for _ in range(10):
        inputs = rng.integers(1, size + 1, size=5).tolist()
        assert best_path(after, inputs)[0] == pytest.approx(best_path(before, inputs)[0], abs=1e-4)


def test_disambiguation_symbols_become_epsilon():
    graph = arcs_from_rows(0, np.zeros(1, np.float32), [(0, 3, 1, 0.0, 0), (0, 4, 2, 0.0, 0)])
    cleaned = remove_symbols(graph, 3)
    assert cleaned.ilabel.tolist() == [3, 0] and cleaned.olabel.tolist() == [1, 2]
