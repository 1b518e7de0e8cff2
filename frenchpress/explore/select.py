"""Which designs go on: those on the front, and the better ones of a rung."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optuna.trial import FrozenTrial

from frenchpress.explore.pareto import best_first, ranks


def kept(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those of finished trials that break no constraint."""
    return [t for t in trials if t.values is not None and all(v <= 0 for v in t.constraints.values())]


def promoted(trials: Sequence[FrozenTrial], share: float) -> list[FrozenTrial]:
    """The better `share` of trials, at least one: successive halving (Jamieson and Talwalkar 2016) by non-dominated
    rank, then by crowding.
    """
    good = kept(trials)
    order = best_first([t.values for t in good])
    return [good[i] for i in order[: max(1, math.ceil(share * len(good)))]]


def front(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that keep the constraints and are dominated by none that does."""
    good = kept(trials)
    return [t for t, rank in zip(good, ranks([t.values for t in good])) if rank == 0]
