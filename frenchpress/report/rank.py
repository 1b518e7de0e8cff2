"""Do two columns of figures put the same things in the same order?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations


def ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; equal values share the mean of the ranks that they take up together."""
    return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's rank correlation, the product-moment correlation of the ranks; None where a column is constant."""
    a, b = ranks(one), ranks(other)
    middle = (len(a) + 1) / 2
    together = sum((x - middle) * (y - middle) for x, y in zip(a, b))
    spread = math.sqrt(sum((x - middle) ** 2 for x in a) * sum((y - middle) ** 2 for y in b))
    return together / spread if spread else None


def kendall(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Kendall's tau-b: pairs in the same order less pairs in opposite order, over those that are tied in neither."""
    agree, untied_one, untied_other = 0, 0, 0
    for (a, b), (c, d) in combinations(zip(one, other), 2):
        agree += _sign(a - c) * _sign(b - d)
        untied_one += a != c
        untied_other += b != d
    spread = math.sqrt(untied_one * untied_other)
    return agree / spread if spread else None


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)
