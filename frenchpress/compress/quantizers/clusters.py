"""Clusters of numbers on a line, as few as levels are to be."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 100


def cluster(values: Tensor, weights: Tensor | None, count: int, entropy: float = 0.0) -> tuple[Tensor, Tensor]:
    """`(centres, edges)`, float64 [n], ascending, and [n - 1]: k-means of `values` [k], n at most `count`.

    Lloyd's rounds from centres at equal distances (Han et al. 2016, arXiv 1510.00149, sec. 3.2, "linear"). A value
    belongs to the centre that it lies below the edge of. `weights` [k]: of each value's squared error (Choi et al.
    2017, arXiv 1612.01543, eq. 7); None: 1. `entropy`: what a bit of a cluster's ideal code length counts, in variances
    of the values (entropy-constrained; ibid., sec. 5.2); clusters that are too rare to be worth theirs are dropped.
    Where no more than `count` values differ, these are the centres.
    """
    place = values.argsort()
    values = values[place].double()
    weights = torch.ones_like(values) if weights is None else weights[place].double()
    different = values.unique()
    if len(different) == 1 or (len(different) <= count and not entropy):
        return different, (different[1:] + different[:-1]) / 2
    mass, moment = _summed(weights), _summed(weights * values)
    bit = entropy * float(values.var(correction=0))
    centres = torch.linspace(float(values[0]), float(values[-1]), count, dtype=torch.float64, device=values.device)
    lengths = torch.zeros_like(centres)
    for _ in range(_ROUNDS):
        cuts = torch.searchsorted(values, _edges(centres, bit * lengths))
        ends = torch.cat([cuts.new_zeros(1), cuts, cuts.new_full((1,), len(values))])
        held, numbers = mass[ends].diff(), ends.diff()
        # A centre that holds nothing stays where it is, or is dropped where levels cost.
        kept = numbers > 0 if entropy else torch.ones_like(numbers, dtype=torch.bool)
        found = torch.where(held > 0, moment[ends].diff() / held, centres)[kept]
        lengths = -(numbers[kept] / len(values)).clamp(min=1e-12).log2() if entropy else torch.zeros_like(found)
        done = len(found) == len(centres) and torch.equal(found, centres)
        centres = found
        if done:
            break
    return centres, _edges(centres, bit * lengths)


def _edges(centres: Tensor, costs: Tensor) -> Tensor:
    """Where squared distance and cost of two neighbouring centres are equal."""
    shift = torch.where(costs.diff() != 0, costs.diff() / (2 * centres.diff()), 0.0)
    return ((centres[1:] + centres[:-1]) / 2 + shift).cummax(0).values


def _summed(x: Tensor) -> Tensor:
    """Sums of the first 0, 1, ... numbers."""
    return torch.cat([x.new_zeros(1), x.cumsum(0)])
