"""Activation quantizers: `fixed` has a static range as integer machines need, `dynamic` the tensor's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.compress.options import FLOAT_BITS, check_bits
from frenchpress.compress.quantizers import largest_integer, round_scale, straight_through, to_grid


class ActQuantizer(nn.Module):
    """Base of the activation quantizers: symmetric uniform grid over [-range, range], one scale per tensor.

    `limit`: the range when it is known (1.0 for LSTM outputs), else None.
    """

    def __init__(self, bits: int, limit: float | None = None) -> None:
        super().__init__()
        check_bits(bits, "act_bits")
        if limit is not None and not limit > 0:
            raise UserError(f"activation range: {limit} must be above 0")
        self.bits = bits
        self.known = limit is not None

    @property
    def is_float(self) -> bool:
        """True when nothing is quantized."""
        return self.bits == FLOAT_BITS

    @property
    def levels(self) -> int:
        """Number of values of a quantized activation at a given scale."""
        return 2 if self.bits == 1 else 2 * largest_integer(self.bits) + 1

    @property
    def stored_bits(self) -> int:
        """Bits of one activation."""
        return self.bits

    def range_of(self, x: Tensor) -> Tensor:
        """Range (scalar tensor) that `x` is to be quantized over."""
        raise NotImplementedError

    def _scale(self, limit: Tensor, like: Tensor) -> Tensor:
        return round_scale((limit / largest_integer(self.bits)).to(like.dtype), self.bits)

    def forward(self, x: Tensor) -> Tensor:
        """`x` on the grid; gradient straight through inside the range, zero outside."""
        if self.is_float:
            return x
        with torch.no_grad():
            limit = self.range_of(x)
            scale = self._scale(limit, x)
            quantized = to_grid(x, scale, self.bits).mul_(scale)
            inside = x.abs() <= limit
        return straight_through(x, quantized, inside)

    def integers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(int64, scale)`; UserError for a float quantizer."""
        if self.is_float:
            raise UserError("a float activation has no integers; give act_bits below 32")
        with torch.no_grad():
            scale = self._scale(self.range_of(x), x)
            return to_grid(x, scale, self.bits).to(torch.int64), scale

    def extra_repr(self) -> str:
        """Bits, for printing a model."""
        return f"bits={self.bits}"


class FixedActQuantizer(ActQuantizer):
    """Static range: known from the start, or the largest magnitude of the first `batches` training calls.

    While it calibrates it quantizes with what it has seen so far; then the range stays. Range and count are
    buffers, so a checkpoint carries them. In evaluation before any training call the tensor's own maximum
    serves and nothing is remembered.
    """

    def __init__(self, bits: int, limit: float | None = None, batches: int = 20) -> None:
        super().__init__(bits, limit)
        self.batches = batches
        self.register_buffer("limit", torch.tensor(limit if limit is not None else 0.0))
        self.register_buffer("seen", torch.tensor(batches if self.known else 0))

    def range_of(self, x: Tensor) -> Tensor:
        """The static range; in training it may first grow to take in `x`."""
        if self.known:
            return self.limit
        seen = int(self.seen)
        if seen >= self.batches:
            return self.limit
        if not self.training:
            return self.limit if seen else _largest(x)
        self.limit.copy_(torch.maximum(self.limit, _largest(x).to(self.limit.dtype)))
        self.seen += 1
        return self.limit


class DynamicActQuantizer(ActQuantizer):
    """The published scheme: the range is the largest magnitude of the tensor, anew at each call.

    A result then depends on what else is in the batch; it is here for comparison.
    """

    def range_of(self, x: Tensor) -> Tensor:
        """Largest magnitude in `x`."""
        return _largest(x)


def _largest(x: Tensor) -> Tensor:
    return x.abs().amax() if x.numel() else x.new_ones(())


ACT_QUANTIZERS: dict[str, type[ActQuantizer]] = {"fixed": FixedActQuantizer, "dynamic": DynamicActQuantizer}


def make_act_quantizer(name: str, bits: int, limit: float | None = None, **options: Any) -> ActQuantizer:
    """The activation quantizer registered as `name`; UserError names the registered ones."""
    if name not in ACT_QUANTIZERS:
        raise UserError(f"act_quantizer: {name!r} is not known; use one of {', '.join(ACT_QUANTIZERS)}")
    return ACT_QUANTIZERS[name](bits, limit, **options)
