"""The lightest paths of lattices small enough to enumerate."""

import kaldifst
import numpy as np
import pytest

from frenchpress.decode.lattice import LatticeArcs, lightest_paths

WEIGHTS = [0.5, 1.0, 3.0, 10.0]


def lattice_of(start, finals, arcs):
    """A kaldifst lattice of final costs {state: (graph, acoustic)} and arcs (src, dst, word, graph, acoustic)."""
    lattice = kaldifst.Lattice()
    for _ in range(1 + max(start, *finals, *(max(arc[:2]) for arc in arcs))):
        lattice.add_state()
    lattice.start = start
    for state, costs in finals.items():
        lattice.set_final(state, kaldifst.LatticeWeight(*costs))
    for src, dst, word, *costs in arcs:
        lattice.add_arc(src, kaldifst.LatticeArc(1, word, kaldifst.LatticeWeight(*costs), dst))
    return lattice


def all_paths(start, finals, arcs):
    """(words, graph cost, acoustic cost) of every path."""
    found = [([], *finals[start])] if start in finals else []
    for src, dst, word, graph, acoustic in arcs:
        if src == start:
            rest = all_paths(dst, finals, arcs)
            found += [([word] * (word > 0) + words, graph + g, acoustic + a) for words, g, a in rest]
    return found


def random_case(seed, states=9):
    """Arcs lead to later states, which are then numbered at random; the last is final, others may be."""
    rng = np.random.default_rng(seed)
    number = rng.permutation(states).tolist()
    pairs = [(s, t) for s in range(states) for t in range(s + 1, states) if t == s + 1 or rng.random() < 0.4]
    pairs += [pairs[k] for k in rng.integers(len(pairs), size=4)]
    costs = lambda: np.float32(rng.normal(size=2) * 5).tolist()  # noqa: E731
    arcs = [(number[s], number[t], int(rng.integers(0, 4)), *costs()) for s, t in pairs]
    finals = {number[s]: costs() for s in (states - 1, states - 3)}
    return number[0], finals, arcs


@pytest.mark.parametrize("seed", range(8))
def test_paths_equal_the_lightest_of_all(seed):
    case = random_case(seed)
    paths = all_paths(*case)
    assert len(paths) > 20
    found = lightest_paths(LatticeArcs.of(lattice_of(*case)), 0.1, WEIGHTS)
    assert list(found) == WEIGHTS
    for weight, (words, cost) in found.items():
        totals = [weight * graph + acoustic / 0.1 for _, graph, acoustic in paths]
        assert cost == pytest.approx(min(totals), abs=1e-4)
        assert words == paths[int(np.argmin(totals))][0]


def test_weights_choose_between_graph_and_acoustics():
    arcs = [(0, 1, 1, 1.0, 9.0), (0, 1, 2, 9.0, 1.0)]
    found = lightest_paths(LatticeArcs.of(lattice_of(0, {1: (0, 0)}, arcs)), 1.0, [0.1, 10.0])
    assert found == {0.1: ([2], pytest.approx(1.9)), 10.0: ([1], pytest.approx(19.0))}


def test_what_cannot_be_reached_does_not_count():
    arcs = [(2, 0, 0, 1.0, 1.0), (3, 2, 5, -50.0, -50.0), (2, 1, 7, 0.0, 0.0), (4, 3, 6, -9.0, 0.0)]
    finals = {0: (1.0, 0.0), 1: (9.0, 9.0), 3: (-99.0, 0.0)}
    found = lightest_paths(LatticeArcs.of(lattice_of(2, finals, arcs)), 1.0, [1.0])
    assert found == {1.0: ([], pytest.approx(3.0))}


def test_a_start_that_is_final_may_say_nothing():
    found = lightest_paths(LatticeArcs.of(lattice_of(0, {0: (2.0, 1.0)}, [(0, 1, 3, 0.0, 0.0)])), 0.5, [1.0, 2.0])
    assert found == {1.0: ([], pytest.approx(4.0)), 2.0: ([], pytest.approx(6.0))}
