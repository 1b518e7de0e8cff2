"""Dominance, ranks and hypervolume against what they are by definition."""

import math

import numpy as np
import pytest

from frenchpress.explore.pareto import best_first, crowding, dominates, hypervolume, ranks


def points(seed, n=30, m=3):
    return np.random.default_rng(seed).integers(0, 8, (n, m)).astype(float).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_a_rank_is_the_longest_chain_that_dominates_a_point(seed):
    mine = points(seed)

    def longest(point):
        return max((1 + longest(other) for other in mine if dominates(other, point)), default=0)

    assert ranks(mine) == [longest(point) for point in mine]


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_hypervolume_is_the_volume_that_is_dominated(m):
    # With whole coordinates it is the number of unit cells whose lower corner is dominated or is a point.
    mine = points(m, n=12, m=m)
    cells = np.stack(np.meshgrid(*[np.arange(9)] * m), -1).reshape(-1, m)
    inside = sum(any(all(p <= c) for p in np.array(mine)) for c in cells)
    assert hypervolume(mine, [9.0] * m) == inside


def test_hypervolume_leaves_out_what_is_beyond_the_corner():
    assert hypervolume([[2.0, 0.0], [0.5, 0.5]], [1.0, 1.0]) == 0.25
    assert hypervolume([], [1.0]) == 0.0


def test_crowding_of_a_line():
    assert crowding([[0, 4], [1, 3], [3, 1], [4, 0]]) == [math.inf, 1.5, 1.5, math.inf]
    assert crowding([[1.0], [1.0], [1.0]]) == [math.inf, 0.0, math.inf]


def test_best_first_by_rank_then_by_room():
    mine = [[5, 5], [0, 4], [1, 3.9], [2, 2], [4, 0]]
    assert best_first(mine) == [1, 4, 3, 2, 0]
    assert best_first([]) == []
