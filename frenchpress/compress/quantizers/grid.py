"""What quantizers are made of: scales that can be stored, the nearest integer, gradients through a rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

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


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, in float32 where it is of half precision, whose range ends where scales are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def round_scale(scale: Tensor, bits: int, rounding: Callable[[Tensor], Tensor] = torch.round) -> Tensor:
    """`scale` on the mantissa used for `bits` bits; zero becomes one, since a zero row needs none. NaN stays NaN."""
    mantissa, exponent = torch.frexp(scale)
    steps = 2.0 ** (_COARSE_MANTISSA if bits <= _COARSE_MANTISSA else max(_FINE_MANTISSA, bits + 1))
    rounded = torch.ldexp(rounding(mantissa * steps) / steps, exponent)
    return torch.where(rounded == 0, torch.ones_like(rounded), rounded)


def to_grid(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Nearest integers of `x / scale` as floats, ties to even, clamped to the grid of `bits` bits."""
    if bits == 1:
        return torch.where(x < 0, -1.0, 1.0).to(x.dtype)
    top = largest_integer(bits)
    return (x / scale).round_().clamp_(-top, top)


def row_dims(x: Tensor, per_row: bool) -> tuple[int, ...]:
    """Dimensions that one scale reaches over: the last, or all."""
    return (-1,) if per_row else tuple(range(x.dim()))


def mean_where(size: Tensor, chosen: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Mean of `size` over `dims` (kept as 1) where `chosen`, 0 where nothing is; dtype of `size`.

    Summed in float64, so that a matrix and its compact form, which lie in different order, agree.
    """
    count = chosen.sum(dims, keepdim=True).clamp_(min=1)
    return ((size * chosen).sum(dims, keepdim=True, dtype=torch.float64) / count).to(size.dtype)


def step_gradient(grad: Tensor, x: Tensor, scale: Tensor, bits: int, count: Tensor | int) -> Tensor:
    """Gradient [] of a learned step size from that of the quantized `x` (Esser et al. 2020, eq. 3 and sec. 2.2).

    Inside the range round(x / s) - x / s, outside the largest integer with the sign of x; times
    1 / sqrt(count * largest integer).
    """
    top = largest_integer(bits)
    inside = x.abs() <= top * scale
    slope = torch.where(inside, to_grid(x, scale, bits) - x / scale, x.sign() * top)
    return (grad * slope).sum() / (count * top) ** 0.5


def first_step(x: Tensor, bits: int) -> Tensor:
    """Step size [] to start from, 2 mean|x| / sqrt(largest integer) (Esser et al. 2020, sec. 2.1), zeros left out."""
    size = x.detach().abs()
    mean = mean_where(size, size > 0, row_dims(x, per_row=False)).reshape(())
    return 2 * mean / largest_integer(bits) ** 0.5
