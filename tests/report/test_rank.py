"""Rank correlations against values worked out by hand, and what ties and reversals do."""

import random

import pytest

from frenchpress.report.rank import kendall, ranks, spearman


def test_ties_share_their_mean_rank():
    assert ranks([3, 1, 3, 2, 3]) == [4, 1, 4, 2, 4]


def test_same_and_opposite_order():
    values = [1.0, 4.0, 9.0, 10.0]
    assert spearman(values, [v**2 for v in values]) == pytest.approx(1)
    assert kendall(values, [-v for v in values]) == pytest.approx(-1)


def test_by_hand_with_ties():
    # Ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: deviations -1.5, 0, 0, 1.5 and -1.5, 0.5, -0.5, 1.5.
    one, other = [16.4, 18.1, 18.1, 21.3], [20.0, 25.0, 24.0, 30.0]
    assert spearman(one, other) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    # Five pairs in the same order, one tied on the left.
    assert kendall(one, other) == pytest.approx(5 / (5 * 6) ** 0.5)


def test_without_ties_it_is_the_textbook_formula():
    generator = random.Random(3)
    other = list(range(12))
    generator.shuffle(other)
    squares = sum((a - b) ** 2 for a, b in zip(range(12), other))
    assert spearman(range(12), other) == pytest.approx(1 - 6 * squares / (12 * (144 - 1)))


@pytest.mark.parametrize("correlation", [spearman, kendall])
def test_a_constant_column_has_no_order(correlation):
    assert correlation([1, 2, 3], [5, 5, 5]) is None
    assert correlation([], []) is None
