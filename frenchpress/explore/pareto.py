"""Points of which less is better in every coordinate: dominance, ranks, crowding, hypervolume."""

from __future__ import annotations

import math
from collections.abc import Sequence

Points = Sequence[Sequence[float]]


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """`one` is nowhere worse than `other` and somewhere better."""
    return all(a <= b for a, b in zip(one, other)) and any(a < b for a, b in zip(one, other))


def ranks(points: Points) -> list[int]:
    """Non-dominated rank of each point, from 0: the front, the front of the rest, and so on (Deb et al. 2002, NSGA-II,
    sec. III-A).
    """
    found, left, rank = [0] * len(points), set(range(len(points))), 0
    while left:
        front = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        for i in front:
            found[i] = rank
        left, rank = left - front, rank + 1
    return found


def crowding(points: Points) -> list[float]:
    """How far each point's neighbours lie, over all coordinates; infinite at the ends (the same, sec. III-B)."""
    found = [0.0] * len(points)
    for k in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda i: points[i][k])
        low, high = points[order[0]][k], points[order[-1]][k]
        found[order[0]] = found[order[-1]] = math.inf
        for before, i, after in zip(order, order[1:], order[2:]):
            found[i] += (points[after][k] - points[before][k]) / (high - low) if high > low else 0.0
    return found


def best_first(points: Points) -> list[int]:
    """Numbers of the points: by rank, in a rank the least crowded first, then in their order."""
    level = ranks(points)
    order: list[int] = []
    for rank in range(max(level, default=-1) + 1):
        mine = [i for i in range(len(points)) if level[i] == rank]
        room = dict(zip(mine, crowding([points[i] for i in mine])))
        order += sorted(mine, key=lambda i: (-room[i], i))
    return order


def hypervolume(points: Points, reference: Sequence[float]) -> float:
    """Volume that `points` dominate up to `reference` (Zitzler and Thiele 1998), slice by slice."""
    inside = [p for p in points if all(x < r for x, r in zip(p, reference))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(p[0] for p in inside)
    levels = sorted({p[-1] for p in inside})
    slices = zip(levels, [*levels[1:], reference[-1]])
    return sum(
        (high - low) * hypervolume([p[:-1] for p in inside if p[-1] <= low], reference[:-1]) for low, high in slices
    )
