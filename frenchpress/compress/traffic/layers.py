"""Modules that stand between two layers and change what goes from one to the other, or back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.compress.masks import kept_of
from frenchpress.compress.sparsity.base import keep_largest
from frenchpress.compress.traffic.compressors import check_multi_step, largest_of, send_kept


class MultiStep(nn.Module):
    """Sends what goes through it as `multi_step` does; backwards, the gradient of what was sent, without the zeros in
    it, rounded in the same way.

    `forward_bytes`, `backward_bytes`: what was sent in the last call, and in the last backward pass through it, where
    the receiver has the places from the call. UserError for options out of range.
    """

    def __init__(self, ratio: float, partitions: int, bits: int) -> None:
        super().__init__()
        check_multi_step(ratio, partitions, bits)
        self.ratio, self.partitions, self.bits = ratio, partitions, bits
        self.forward_bytes = self.backward_bytes = 0

    def forward(self, x: Tensor) -> Tensor:
        """A tensor of any shape -> one of the same shape."""
        return _MultiStep.apply(x, self)

    def extra_repr(self) -> str:
        """Options, for printing a model."""
        return f"ratio={self.ratio}, partitions={self.partitions}, bits={self.bits}"


class _MultiStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, module: MultiStep) -> Tensor:
        kept = largest_of(x, module.ratio)
        module.forward_bytes, decoded = send_kept(x, kept, module.partitions, module.bits)
        ctx.module = module
        ctx.save_for_backward(kept)
        return decoded

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (kept,), module = ctx.saved_tensors, ctx.module
        there = kept & (grads[0] != 0)
        sent = send_kept(grads[0], there, module.partitions, module.bits, among=int(kept.sum()))
        module.backward_bytes = sent.bytes
        return sent.decoded, None


class TopGradient(nn.Module):
    """meProp (Sun et al. 2017, arXiv 1706.06197, eq. 8): what goes through stays as it is; backwards, of each vector
    the `keep` gradients with the largest magnitudes go on, the others are zero.

    It stands behind a linear layer, whose weights then have gradients in these rows alone.
    """

    def __init__(self, keep: float) -> None:
        super().__init__()
        if not 0 < keep <= 1:
            raise UserError(f"keep: {keep} is out of range; it must be above 0 and at most 1")
        self.keep = keep

    def forward(self, x: Tensor) -> Tensor:
        """[..., features] -> the same."""
        return _TopGradient.apply(x, self.keep)


class _TopGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: float) -> Tensor:
        ctx.keep = keep
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad = grads[0]
        return grad * keep_largest(grad.abs(), kept_of(grad.shape[-1], ctx.keep)), None
