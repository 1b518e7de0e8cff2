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
from frenchpress.compress.quantizers.ranges import RangeOptions

SMALLEST_STEP = 1e-7
_MOST_BITS = 20


@dataclass(frozen=True)
class RowOptions:
    """`per_row`: one scale per row of the matrix, else one for all of it."""

    per_row: bool = True


@dataclass(frozen=True)
class GridOptions(RowOptions, RangeOptions):
    """`range`: what the grid reaches over, `minmax` if None; weights beyond it are clipped. `stochastic`: in training a
    weight is rounded up or down by chance.
    """

    stochastic: bool = False


class ScaledQuantizer(Quantizer):
    """Has a scale per row or one."""

    def __init__(self, bits: int, options: RowOptions) -> None:
        super().__init__(bits)
        self.per_row = options.per_row

    @property
    def granularity(self) -> Granularity:
        """A row, or the tensor."""
        return ROW if self.per_row else TENSOR


class GridQuantizer(ScaledQuantizer):
    """Base of the uniform grids: whole numbers of steps between two bounds, the range found as the options say.

    With a `range` other than `minmax` weights beyond it are clipped and have no gradient (weight clipping). Stochastic:
    in training x / s becomes the integer below it, or above it with a probability of what it exceeds that by, so that
    the mean of the draws is x (Gupta et al. 2015, arXiv 1502.02551, sec. 3.1); drawn from torch's own generator, whose
    state a checkpoint has. In evaluation, and for `integers`, the nearest.
    """

    Options = GridOptions

    def __init__(self, bits: int, options: GridOptions) -> None:
        super().__init__(bits, options)
        if bits == 1 and options != type(options)(per_row=options.per_row):
            raise UserError("weight_bits: 1: has no range and draws nothing; quantizer binary has stochastic")
        options.check_bits(bits)
        self.options = options

    def grid(self, x: Tensor) -> tuple[Tensor, Tensor | float, Tensor | float]:
        """`(scale, lowest integer, highest integer)`, each per row `[..., 1]` or `[1, ..., 1]`, or a number."""
        raise NotImplementedError

    def nearest(self, steps: Tensor) -> Tensor:
        """`steps`, a fresh tensor, rounded; ties to even."""
        return steps.round_()

    def limit(self, size: Tensor) -> Tensor:
        """The range, per row or of all, of magnitudes [..., columns]; zeros are left out."""
        largest = size.amax(row_dims(size, self.per_row), keepdim=True)
        return largest * self.options.share(size, largest, self.bits)

    def place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(integers, scale)`."""
        scale, low, high = self.grid(x)
        return self.nearest(x / scale).clamp_(low, high), scale

    def draw(self, x: Tensor, scale: Tensor) -> Tensor | None:
        """Integers above or below, where they are drawn."""
        if not self.options.stochastic:
            return None
        _, low, high = self.grid(x)
        return (x / scale).add_(torch.rand_like(x)).floor_().clamp_(low, high)

    def inside(self, x: Tensor, scale: Tensor) -> Tensor | None:
        """Within the bounds, where a range may clip."""
        if self.options.range in (None, "minmax"):
            return None
        _, low, high = self.grid(x)
        return (x >= low * scale) & (x <= high * scale)


class UniformQuantizer(GridQuantizer):
    """Symmetric uniform grid, integers in [-(2^(b-1)-1), 2^(b-1)-1], one scale per row or per tensor.

    The scale maps the range, unless said otherwise the largest magnitude of the row, to the largest integer; then
    nothing clips and the gradient is passed unchanged. With one bit the grid is the pair of -s and +s, s the mean
    magnitude of the non-zero weights (Rastegari et al. 2016, eq. 6); weights that a mask removed are to be zeroed
    after it. One scale per row is the default: a row with small weights keeps its resolution, at 16 bits per row.
    UserError for more bits than a float32 has for integer and scale, but 32, which is float.
    """

    def __init__(self, bits: int, options: GridOptions = GridOptions()) -> None:  # noqa: B008 (frozen)
        super().__init__(bits, options)
        if _MOST_BITS < bits < FLOAT_BITS:
            raise UserError(f"weight_bits: {bits}: quantizer uniform takes 1 to {_MOST_BITS} bits, or 32 for float")

    def scale(self, x: Tensor) -> Tensor:
        """Scale per row `[..., 1]`, or of the tensor `[1, ..., 1]`."""
        size = x.detach().abs()
        if self.bits == 1:
            return round_scale(mean_where(size, size > 0, row_dims(x, self.per_row)), self.bits)
        return round_scale(self.limit(size) / self.top, self.bits)

    def grid(self, x: Tensor) -> tuple[Tensor, float, float]:
        """`(scale, -top, top)`."""
        return self.scale(x), -self.top, self.top

    def place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(integers, scale)`."""
        if self.bits > 1:
            return super().place(x)
        scale = self.scale(x)
        return to_grid(x, scale, 1), scale


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
