"""Uniform grids: symmetric, and with a learned step size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.compress.options import FLOAT_BITS
from frenchpress.compress.quantizers.base import Quantizer
from frenchpress.compress.quantizers.codes import ROW, TENSOR, Granularity
from frenchpress.compress.quantizers.grid import (
    first_step,
    largest_integer,
    mean_where,
    round_scale,
    row_dims,
    step_gradient,
    to_grid,
)

SMALLEST_STEP = 1e-7
_MOST_BITS = 20


@dataclass(frozen=True)
class RowOptions:
    """`per_row`: one scale per row of the matrix, else one for all of it."""

    per_row: bool = True


class UniformQuantizer(Quantizer):
    """Symmetric uniform grid, integers in [-(2^(b-1)-1), 2^(b-1)-1], one scale per row or per tensor.

    The scale maps the largest magnitude of the row to the largest integer, so nothing clips and the gradient
    is passed unchanged. With one bit the grid is the pair of -s and +s, s the mean magnitude of the non-zero
    weights (Rastegari et al. 2016, eq. 6); weights that a mask removed are to be zeroed after it.
    One scale per row is the default: a row with small weights keeps its resolution, at 16 bits per row.
    UserError for more bits than a float32 has for integer and scale, but 32, which is float.
    """

    Options = RowOptions

    def __init__(self, bits: int, options: RowOptions = RowOptions()) -> None:  # noqa: B008 (frozen)
        super().__init__(bits)
        if _MOST_BITS < bits < FLOAT_BITS:
            raise UserError(f"weight_bits: {bits}: quantizer uniform takes 1 to {_MOST_BITS} bits, or 32 for float")
        self.per_row = options.per_row

    @property
    def granularity(self) -> Granularity:
        """A row, or the tensor."""
        return ROW if self.per_row else TENSOR

    def scale(self, x: Tensor) -> Tensor:
        """Scale per row `[..., 1]`, or of the tensor `[1, ..., 1]`."""
        dims = row_dims(x, self.per_row)
        size = x.detach().abs()
        if self.bits == 1:
            return round_scale(mean_where(size, size > 0, dims), self.bits)
        return round_scale(size.amax(dims, keepdim=True) / self.top, self.bits)

    def place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(integers, scale)`."""
        scale = self.scale(x)
        return to_grid(x, scale, self.bits), scale


class _LearnedStep(torch.autograd.Function):
    """The grid of `scale`, with gradients to the weights inside the range and to the step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, scale: Tensor, bits: int) -> Tensor:
        ctx.save_for_backward(x, scale)
        ctx.bits = bits
        return to_grid(x, scale, bits).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, scale = ctx.saved_tensors
        inside = x.abs() <= largest_integer(ctx.bits) * scale
        # Weights that a mask removed are zero; they are no part of the layer's size.
        count = (x != 0).sum().clamp_(min=1)
        step = step_gradient(grads[0], x, scale, ctx.bits, count)
        return grads[0] * inside, step.to(grads[0].dtype), None, None


class LsqQuantizer(Quantizer):
    """Learned step size (LSQ; Esser et al., ICLR 2020, arXiv 1902.08153), one step per matrix.

    `step` [] is a parameter, 0 until the first call, which sets it to 2 mean|w| / sqrt(Q), Q = 2^(b-1) - 1. Its
    gradient is scaled by 1 / sqrt(N Q), N the number of weights that are not removed. The grid is symmetric,
    integers in [-Q, Q], where the paper has one more at the negative end. What is multiplied with, and stored,
    is the step rounded as every scale is here.
    """

    takes = range(2, 17)

    def __init__(self, bits: int, options: object = None) -> None:
        super().__init__(bits)
        self.step = nn.Parameter(torch.zeros(()))

    @torch.no_grad()
    def scale(self, x: Tensor) -> Tensor:
        """The step as stored, shape [1, ..., 1]; before the first call the one that it would start from."""
        step = self.step if self.step else first_step(x, self.bits)
        step = step.clamp(min=SMALLEST_STEP).to(x.dtype)
        return round_scale(step, self.bits).view((1,) * x.dim())

    def place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(integers, scale)` at the step as learnt so far."""
        scale = self.scale(x)
        return to_grid(x, scale, self.bits), scale

    def quantized(self, x: Tensor) -> Tensor:
        """`x` on the grid of the step, which the first call sets."""
        if not self.step:
            with torch.no_grad():
                self.step.copy_(first_step(x, self.bits))
        scale = self.scale(x)
        self.refuse_unless_finite(x.detach().sum() + scale * self.top)
        return _LearnedStep.apply(x, self.step, scale, self.bits)
