"""Quantizers of weights: float tensors on a grid, straight-through gradients, the integers back.

Every quantizer is a module: `forward(x)` gives the tensor on the grid, `integers(x)` gives `(integers,
scale)` with `integers * scale` equal to `forward(x)` to the bit, `levels` counts the values, `stored_bits` the
bits that one value needs. 32 bits mean float: `forward` is the identity.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.compress.options import FLOAT_BITS, check_bits

# A scale keeps so few mantissa bits that integer * scale is exact in float32 up to 8 bits, and so many that
# the largest magnitude lands on the largest integer, which makes quantizing idempotent. 8 are a bfloat16's.
_COARSE_MANTISSA, _FINE_MANTISSA = 8, 20


class _StraightThrough(torch.autograd.Function):
    """Forward: `quantized`. Backward: the gradient goes to `x` where `inside` (everywhere if None)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, quantized: Tensor, inside: Tensor | None) -> Tensor:
        ctx.save_for_backward(inside)
        return quantized.view_as(quantized)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None]:
        (inside,) = ctx.saved_tensors
        return (grads[0] if inside is None else grads[0] * inside), None, None


def straight_through(x: Tensor, quantized: Tensor, inside: Tensor | None = None) -> Tensor:
    """`quantized` with the gradient of `x` where `inside`, zero elsewhere (Bengio 2013, arXiv 1308.3432)."""
    return _StraightThrough.apply(x, quantized, inside)


def largest_integer(bits: int) -> int:
    """Largest integer of the symmetric grid of `bits` bits; 1 bit is the pair -1, +1."""
    return max(1, 2 ** (bits - 1) - 1)


def scale_bits(bits: int) -> int:
    """Bits that one scale takes in store: a bfloat16 up to 8 bits, a float32 above."""
    return 16 if bits <= _COARSE_MANTISSA else 32


def round_scale(scale: Tensor, bits: int) -> Tensor:
    """`scale` on the mantissa used for `bits` bits; zero becomes one, since a zero row needs none."""
    mantissa, exponent = torch.frexp(scale)
    steps = 2.0 ** (_COARSE_MANTISSA if bits <= _COARSE_MANTISSA else _FINE_MANTISSA)
    rounded = torch.ldexp(torch.round(mantissa * steps) / steps, exponent)
    return torch.where(rounded > 0, rounded, torch.ones_like(rounded))


def to_grid(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Nearest integers of `x / scale` as floats, ties to even, clamped to the grid of `bits` bits."""
    if bits == 1:
        return torch.where(x < 0, -1.0, 1.0).to(x.dtype)
    top = largest_integer(bits)
    return (x / scale).round_().clamp_(-top, top)


class Quantizer(nn.Module):
    """Base of the weight quantizers, and the float one: `bits` in 1..32, rows along the last dimension."""

    def __init__(self, bits: int = FLOAT_BITS) -> None:
        super().__init__()
        check_bits(bits, "bits")
        self.bits = bits

    @property
    def is_float(self) -> bool:
        """True when nothing is quantized."""
        return self.bits == FLOAT_BITS

    @property
    def levels(self) -> int:
        """Number of values that a quantized number can take at a given scale."""
        return 2 if self.bits == 1 else 2 * largest_integer(self.bits) + 1

    @property
    def stored_bits(self) -> int:
        """Bits that a stored value needs."""
        return self.bits

    def scales_stored(self, rows: int) -> int:
        """Number of scales stored with a matrix of `rows` rows."""
        return 0

    @property
    def scale_bits(self) -> int:
        """Bits that one stored scale takes."""
        return scale_bits(self.bits)

    def forward(self, x: Tensor) -> Tensor:
        """`x` on the grid, same shape and dtype."""
        return x

    def integers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(int64 integers, scale)`, scale broadcastable to `x`; UserError for a float quantizer."""
        raise UserError("a float matrix has no integers; give weight_bits below 32")

    def extra_repr(self) -> str:
        """Bits, for printing a model."""
        return f"bits={self.bits}"


class UniformQuantizer(Quantizer):
    """Symmetric uniform grid, integers in [-(2^(b-1)-1), 2^(b-1)-1], one scale per row or per tensor.

    The scale maps the largest magnitude of the row to the largest integer, so nothing clips and the gradient
    is passed unchanged. With one bit the grid is the pair of -s and +s, s the mean magnitude of the non-zero
    weights (Rastegari et al. 2016, eq. 6); weights that a mask removed are to be zeroed after it.
    One scale per row is the default: a row with small weights keeps its resolution, at 16 bits per row.
    """

    def __init__(self, bits: int, per_row: bool = True) -> None:
        super().__init__(bits)
        self.per_row = per_row

    def scales_stored(self, rows: int) -> int:
        """One per row, or one."""
        return 0 if self.is_float else rows if self.per_row else 1

    def scale(self, x: Tensor) -> Tensor:
        """Scale per row `[..., 1]`, or of the tensor `[1, ..., 1]`."""
        dims = (-1,) if self.per_row else tuple(range(x.dim()))
        size = x.detach().abs()
        if self.bits == 1:
            count = (size > 0).sum(dims, keepdim=True).clamp_(min=1)
            return round_scale(size.sum(dims, keepdim=True) / count, self.bits)
        return round_scale(size.amax(dims, keepdim=True) / largest_integer(self.bits), self.bits)

    def forward(self, x: Tensor) -> Tensor:
        """`x` [..., columns] on the grid."""
        if self.is_float:
            return x
        with torch.no_grad():
            scale = self.scale(x)
            quantized = to_grid(x, scale, self.bits).mul_(scale)
        return straight_through(x, quantized)

    def integers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(int64 [..., columns], scale)`."""
        if self.is_float:
            return super().integers(x)
        scale = self.scale(x)
        return to_grid(x.detach(), scale, self.bits).to(torch.int64), scale


class CeilQuantizer(Quantizer):
    """The published quantizer: sign(w) * ceil(|w| * 2^(b-1)) / 2^(b-1), w clamped to [-1, 1].

    Its 2^b + 1 levels do not fit into b bits: `stored_bits` is b + 1. The gradient is zero outside [-1, 1].
    """

    @property
    def levels(self) -> int:
        """2^b + 1."""
        return 2**self.bits + 1

    @property
    def stored_bits(self) -> int:
        """One more than asked, which is what the levels need."""
        return self.bits if self.is_float else self.bits + 1

    def _to_grid(self, x: Tensor) -> Tensor:
        clamped = x.detach().clamp(-1, 1)
        return clamped.sign() * (clamped.abs() * 2 ** (self.bits - 1)).ceil()

    def forward(self, x: Tensor) -> Tensor:
        """`x` on the grid of multiples of 2^-(b-1)."""
        if self.is_float:
            return x
        return straight_through(x, self._to_grid(x) * 2.0 ** (1 - self.bits), x.detach().abs() <= 1)

    def integers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(int64, scale 2^-(b-1))`; the scale is known and not stored."""
        if self.is_float:
            return super().integers(x)
        scale = torch.full((1,) * x.dim(), 2.0 ** (1 - self.bits), dtype=x.dtype, device=x.device)
        return self._to_grid(x).to(torch.int64), scale


class NoQuantizer(Quantizer):
    """Float whatever the bits say."""

    def __init__(self, bits: int = FLOAT_BITS) -> None:
        check_bits(bits, "bits")
        super().__init__(FLOAT_BITS)


QUANTIZERS: dict[str, type[Quantizer]] = {
    "uniform": UniformQuantizer,
    "ceil": CeilQuantizer,
    "none": NoQuantizer,
}


def make_quantizer(name: str, bits: int, **options: Any) -> Quantizer:
    """The weight quantizer registered as `name` with `bits` bits; UserError names the registered ones."""
    if name not in QUANTIZERS:
        raise UserError(f"quantizer: {name!r} is not known; use one of {', '.join(QUANTIZERS)}")
    return QUANTIZERS[name](bits, **options)
