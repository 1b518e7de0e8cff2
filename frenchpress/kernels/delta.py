"""Delta networks: a value is sent on only when it has moved by more than a threshold since it was last sent.

What has not moved is a zero of the feature map: no product needs its column of weights. Between two sendings everybody
sees the value that was sent last (Neil et al. 2017, arXiv 1612.05571, eq. 5 and 6), so the sums of products are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def steps_of(threshold: float, step: float) -> int:
    """The largest move on a grid, in its steps, that is not sent."""
    return int(threshold / step * (1 + 1e-6))


def margin_of(threshold: float, scale: Tensor | None) -> float:
    """What a move must exceed to be sent.

    On a grid of steps `scale` it lies half a step above the last multiple that is not sent, so that rounding of the
    difference, in float32 or in integers, cannot decide. With the threshold 0 whatever moves is sent.
    """
    if scale is None:
        return threshold
    step = float(scale)
    return (steps_of(threshold, step) + 0.5) * step


def hold_step(x: Tensor, sent: Tensor, margin: float) -> None:
    """`x` [n, features] of a time step in place: what was `sent` before, where it has moved by no more than that."""
    torch.where((x - sent).abs() <= margin, sent, x, out=x)  # a NaN is sent, so that it shows


class _Held(Function):
    """Straight through: the gradient of what is seen is that of the value itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: Sequence[int], margin: float) -> Tensor:
        out = x.clone(memory_format=torch.contiguous_format)
        sent = out.new_zeros(sizes[0], out.shape[1])
        for step in out.split(list(sizes)):
            hold_step(step, sent[: len(step)], margin)
            sent = step
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return grads[0], None, None


def held(x: Tensor, sizes: Sequence[int], margin: float) -> Tensor:
    """What is seen of `x` [N, features], packed by time step with `sizes[t]` rows at step t; zeros are sent before."""
    return _Held.apply(x, sizes, margin)


def movement(x: Tensor, lengths: Tensor) -> Tensor:
    """Mean over the real frames of sum |x_t - x_{t-1}|, [], of `x` [B, T, features] that begins from zero."""
    steps = torch.diff(x, dim=1, prepend=torch.zeros_like(x[:, :1])).abs().sum(-1)
    real = torch.arange(x.shape[1], device=x.device) < lengths.to(x.device).unsqueeze(1)
    return (steps * real).sum() / real.sum()
