"""Statistics over a batch that several processes, workers, share while they train one model.

Each has some of its sequences. `sharing` says so, for the time of a step; outside of it every statistic is that of the
tensor at hand. They go through `torch.distributed`, and are the same to the bit for every worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function


@dataclass(frozen=True)
class Share:
    """What worker `rank` of `size` has of a batch of `sequences`: each `size`-th."""

    rank: int = 0
    size: int = 1
    sequences: int = 0

    @property
    def mine(self) -> slice:
        """Of all sequences."""
        return slice(self.rank, None, self.size)


_share: Share | None = None


@contextmanager
def sharing(share: Share) -> Iterator[None]:
    """Let statistics inside be those of all workers; with one worker nothing changes."""
    global _share
    _share = share if share.size > 1 else None
    try:
        yield
    finally:
        _share = None


def shared() -> Share | None:
    """The share of this worker; None where there are no others."""
    return _share


def largest(x: Tensor) -> Tensor:
    """Elementwise maximum over workers of `x`, of one shape everywhere."""
    return x if _share is None else _reduced(x, dist.ReduceOp.MAX)


def total(x: Tensor) -> Tensor:
    """Sum over workers of `x`, of one shape everywhere; it has no gradient (`differentiable_total`)."""
    return x if _share is None else _reduced(x, dist.ReduceOp.SUM)


def mean(x: Tensor, count: Tensor) -> Tensor:
    """Mean over workers of the means `x` [] of `count` [] numbers each; 0 where there are none."""
    if _share is None:
        return x
    sums = total(torch.stack([x.double() * count, count.double()]))
    return (sums[0] / sums[1].clamp(min=1)).to(x.dtype)


def moments(mean: Tensor, var: Tensor, count: float) -> tuple[Tensor, Tensor, float]:
    """Mean and biased variance [features] over all workers, and of how many frames, from those of `count` frames here.

    Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances", eq. 2.1,
    in float64 and in the order of the ranks.
    """
    if _share is None:
        return mean, var, count
    mine = torch.stack([mean.double(), var.double(), torch.full_like(mean, count, dtype=torch.float64)])
    parts = [torch.empty_like(mine) for _ in range(_share.size)]
    dist.all_gather(parts, mine)
    means, variances, counts = torch.stack(parts, 1)
    frames = counts.sum(0)
    whole = (means * counts).sum(0) / frames
    spread = ((variances + (means - whole).square()) * counts).sum(0) / frames
    return whole.to(mean.dtype), spread.to(var.dtype), float(frames[0])


class _Total(Function):
    """The derivative of a sum over workers by what one of them adds is the sum of what all of them ask for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return total(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return total(grads[0])


def differentiable_total(x: Tensor) -> Tensor:
    """Sum over workers of `x`; its gradient is that of the sum of all workers' losses."""
    return _Total.apply(x)


def _reduced(x: Tensor, how: dist.ReduceOp) -> Tensor:
    result = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(result, how)
    return result
