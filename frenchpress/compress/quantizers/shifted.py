"""Uniform grids whose zero or whose step is no number of its own: an offset per row, and powers of two as steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from frenchpress.common import UserError
from frenchpress.compress.quantizers.codes import Codes, Granularity, groups_of
from frenchpress.compress.quantizers.grid import mean_where, round_scale, row_dims
from frenchpress.compress.quantizers.uniform import GridOptions, GridQuantizer

_EXPONENT_BITS = 8


class AffineQuantizer(GridQuantizer):
    """Uniform grid of 2^b levels from the smallest to the largest weight, zero being one of them (Jacob et al. 2018,
    arXiv 1712.05877, eq. 1): w' = s (q - z), with a zero point z per row or one.

    A `range` is one about the mean of the row: `sigma` is mean +- 3 standard deviations. The step is rounded down, so
    that both ends are used and quantizing twice changes nothing. A zero point is charged b bits. Up to 8 bits: with
    more the one level that the symmetric grid lacks is worth nothing.
    """

    takes = range(2, 9)

    def __init__(self, bits: int, options: GridOptions = GridOptions()) -> None:  # noqa: B008 (frozen)
        super().__init__(bits, options)

    @property
    def levels(self) -> int:
        """2^b."""
        return 2**self.bits

    @property
    def top(self) -> int:
        """What the largest integer may be, where zero is at the end."""
        return self.levels - 1

    def side_bits(self, rows: int, columns: int) -> int:
        """Scales and zero points."""
        return self.scales_stored(rows, columns) * (self.scale_bits + self.bits)

    def nearest(self, steps: Tensor) -> Tensor:
        """Ties up, as the zero point goes down, so that the ends stay where they are."""
        return steps.add_(0.5).floor_()

    def grid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(scale, -z, 2^b - 1 - z)`."""
        dims = row_dims(x, self.per_row)
        low, high = x.amin(dims, keepdim=True), x.amax(dims, keepdim=True)
        if self.options.range not in (None, "minmax"):
            middle = mean_where(x, x != 0, dims)
            reach = self.limit((x - middle).abs() * (x != 0))
            low, high = torch.maximum(low, middle - reach), torch.minimum(high, middle + reach)
        low, high = low.clamp(max=0), high.clamp(min=0)
        scale = round_scale((high - low) / self.top, self.bits, torch.floor)
        zero = (-low / scale - 0.5).ceil().clamp(0, self.top)
        return scale, -zero, self.top - zero

    def codes_of(self, integers: Tensor, scale: Tensor) -> Codes:
        """Signed codes of b bits: the smallest integer of each row, or of all, is the smallest code."""
        low = integers.amin(row_dims(integers, self.per_row), keepdim=True).clamp(max=0)
        return Codes(integers - low - self.levels // 2, scale, zero=-low - self.levels // 2)


@dataclass(frozen=True)
class FixedPointOptions(GridOptions):
    """`per_row`: one exponent per row, else one for the matrix. `exponent`: of the step, 2^exponent; None: the smallest
    one with which the range fits.
    """

    per_row: bool = False
    exponent: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exponent is not None and self.range is not None:
            raise UserError("range: the exponent is given; leave one out")
        if self.exponent is not None and not -100 <= self.exponent <= 100:
            raise UserError(f"exponent: {self.exponent} is out of range; it must be -100 to 100")


class FixedPointQuantizer(GridQuantizer):
    """Fixed point: the step is a power of two, so that a scale is a shift; one for the matrix (dynamic fixed point;
    Courbariaux et al. 2014, arXiv 1412.7024; Flexpoint, Koester et al. 2017, arXiv 1711.02213).

    A step costs 8 bits. With a given `exponent` weights beyond the range are clipped and have no gradient.
    """

    Options = FixedPointOptions
    takes = range(2, 17)

    def __init__(self, bits: int, options: FixedPointOptions = FixedPointOptions()) -> None:  # noqa: B008 (frozen)
        super().__init__(bits, options)

    @property
    def scale_bits(self) -> int:
        """An exponent."""
        return _EXPONENT_BITS

    def grid(self, x: Tensor) -> tuple[Tensor, float, float]:
        """`(step, -top, top)`."""
        if self.options.exponent is not None:
            return x.new_full((1,) * x.dim(), 2.0**self.options.exponent), -self.top, self.top
        return power_step(self.limit(x.abs()), self.top), -self.top, self.top

    def inside(self, x: Tensor, scale: Tensor) -> Tensor | None:
        """Within the bounds, where the step is given or the range may clip."""
        if self.options.exponent is None:
            return super().inside(x, scale)
        return x.abs() <= self.top * scale


@dataclass(frozen=True)
class BlockOptions:
    """`columns`: neighbours in a row that share an exponent. `stochastic`: as for other grids."""

    columns: int = 16
    stochastic: bool = False

    def __post_init__(self) -> None:
        if self.columns < 1:
            raise UserError(f"columns: {self.columns} must be at least 1")


class BlockFloatQuantizer(FixedPointQuantizer):
    """Block floating point: the weights of a block of `columns` in a row share an exponent of 8 bits (MSFP; Darvish
    Rouhani et al., NeurIPS 2020).

    The step is the smallest power of two with which nothing in the block is clipped.
    """

    Options = BlockOptions

    def __init__(self, bits: int, options: BlockOptions = BlockOptions()) -> None:  # noqa: B008 (frozen)
        super().__init__(bits, FixedPointOptions(stochastic=options.stochastic))
        self.columns = options.columns

    @property
    def granularity(self) -> Granularity:
        """A block of a row."""
        return groups_of(self.columns)

    def limit(self, size: Tensor) -> Tensor:
        """The largest of its block for every weight."""
        columns = size.shape[-1]
        blocks = F.pad(size, (0, -columns % self.columns)).unflatten(-1, (-1, self.columns))
        return blocks.amax(-1, keepdim=True).expand_as(blocks).flatten(-2)[..., :columns]


def power_step(limit: Tensor, top: int) -> Tensor:
    """The smallest power of two that brings `limit` to at most `top`; 1 where it is 0. NaN stays NaN."""
    mantissa, exponent = torch.frexp(limit / top)
    step = torch.ldexp(torch.ones_like(limit), torch.where(mantissa == 0.5, exponent - 1, exponent))
    return torch.where(limit > 0, step, torch.where(limit.isnan(), limit, torch.ones_like(limit)))
