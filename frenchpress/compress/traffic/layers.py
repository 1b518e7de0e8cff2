"""Modules that stand between two layers and change what goes from one to the other, or back."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.common.typed import parse_fraction
from frenchpress.compress.masks import kept_of
from frenchpress.compress.sparsity.base import keep_largest
from frenchpress.compress.traffic.compressors import (
    Sent,
    check_multi_step,
    check_qsgd,
    largest_of,
    qsgd,
    send_kept,
    top_k,
)


class Link(nn.Module):
    """Stands between two layers on different devices: sends on what goes through it, and the gradient of that back.

    This one sends all as float32. `forward_bytes`, `backward_bytes`: what was sent in the last call, and in the last
    backward pass through it. `watch`, where it is set, is told of every tensor: `forward` or `backward`, what it was,
    and what was sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.forward_bytes = self.backward_bytes = 0
        self.watch: Callable[[str, Tensor, Sent], None] | None = None

    def send(self, x: Tensor) -> tuple[Sent, Tensor | None]:
        """What is sent of `x`, and where it was sent at all, bool of its shape; None: everywhere."""
        return _whole(x), None

    def send_back(self, grad: Tensor, kept: Tensor | None) -> Sent:
        """What is sent of the gradient of what was sent where `kept`, which the receiver knows."""
        return _whole(grad)

    def forward(self, x: Tensor) -> Tensor:
        """A tensor of any shape -> one of the same shape."""
        return _Sent.apply(x, self)

    def note(self, direction: str, x: Tensor, sent: Sent) -> None:
        """Count what was sent of `x`, and tell whoever watches."""
        setattr(self, f"{direction}_bytes", sent.bytes)
        if self.watch is not None:
            self.watch(direction, x, sent)


def _whole(x: Tensor) -> Sent:
    return Sent(4 * x.numel(), x)


class _Sent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, link: Link) -> Tensor:
        sent, kept = link.send(x)
        link.note("forward", x, sent)
        ctx.link, ctx.everywhere = link, kept is None
        ctx.save_for_backward(*([] if kept is None else [kept]))
        return x.view_as(x) if sent.decoded is x else sent.decoded

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        sent = ctx.link.send_back(grads[0], None if ctx.everywhere else ctx.saved_tensors[0])
        ctx.link.note("backward", grads[0], sent)
        return sent.decoded, None


class TopK(Link):
    """Sends what goes through it as `top_k` does; backwards, the gradient of what was sent and is not zero, float32."""

    def __init__(self, ratio: Fraction | float | str) -> None:
        super().__init__()
        self.ratio = parse_fraction(ratio, "ratio")

    def send(self, x: Tensor) -> tuple[Sent, Tensor | None]:
        """As the base has it."""
        sent = top_k(x, self.ratio)
        return sent, sent.decoded != 0

    def send_back(self, grad: Tensor, kept: Tensor | None) -> Sent:
        """As the base has it."""
        return Sent(4 * int(kept.sum()), grad * kept)


class MultiStep(TopK):
    """Sends what goes through it as `multi_step` does; backwards, the gradient of what was sent, without the zeros in
    it, rounded in the same way.

    `forward_bytes`, `backward_bytes`: what was sent in the last call, and in the last backward pass through it, where
    the receiver has the places from the call. UserError for options out of range.
    """

    def __init__(self, ratio: Fraction | float | str, partitions: int, bits: int) -> None:
        super().__init__(ratio)
        check_multi_step(self.ratio, partitions, bits)
        self.partitions, self.bits = partitions, bits

    def send(self, x: Tensor) -> tuple[Sent, Tensor | None]:
        """As the base has it."""
        kept = largest_of(x, self.ratio)
        return send_kept(x, kept, self.partitions, self.bits), kept

    def send_back(self, grad: Tensor, kept: Tensor | None) -> Sent:
        """As the base has it."""
        return send_kept(grad, kept & (grad != 0), self.partitions, self.bits, among=int(kept.sum()))

    def extra_repr(self) -> str:
        """Options, for printing a model."""
        return f"ratio={self.ratio}, partitions={self.partitions}, bits={self.bits}"


class Qsgd(Link):
    """Sends what goes through it, and its gradient, as `qsgd` does, drawn from torch's own generator."""

    def __init__(self, levels: int = 7, bucket: int = 512) -> None:
        super().__init__()
        check_qsgd(levels, bucket)
        self.levels, self.bucket = levels, bucket

    def send(self, x: Tensor) -> tuple[Sent, Tensor | None]:
        """As the base has it."""
        return qsgd(x, self.levels, self.bucket), None

    def send_back(self, grad: Tensor, kept: Tensor | None) -> Sent:
        """As the base has it."""
        return qsgd(grad, self.levels, self.bucket)


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
