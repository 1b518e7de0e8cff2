"""What every activation quantizer is, and the published one, whose range is the tensor's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.compress.quantizers import BitQuantizer, largest_integer, round_scale, straight_through, to_grid
from frenchpress.compress.quantizers.grid import at_least_float32


class ActQuantizer(BitQuantizer):
    """Base of the activation quantizers: symmetric uniform grid over [-range, range], one scale per tensor.

    Up to 24 bits, which is what float32 can tell apart.

    `limit`: the range when it is known (1.0 for LSTM outputs), else None. Inside a recurrence a tensor is there only
    when it is over, so `grid` says what can be said before, and `observe` is shown the tensor after it.
    """

    takes = range(1, 25)

    def __init__(self, bits: int, limit: float | None = None, options: object = None) -> None:
        super().__init__(bits)
        if limit is not None and not limit > 0:
            raise UserError(f"activation range: {limit} must be above 0")

    @property
    def clips(self) -> bool:
        """Whether values may lie outside the range."""
        return False

    @property
    def per_call(self) -> bool:
        """Whether the range is that of the tensor at hand."""
        return False

    @property
    def observing(self) -> bool:
        """Whether `observe` would learn anything from a tensor now."""
        return False

    @property
    def learned(self) -> nn.Parameter | None:
        """The range or step that is trained, if one is."""
        return None

    def observe(self, x: Tensor) -> None:
        """Take `x` into account in calls to come; UserError, naming the place, where it is not finite."""

    def grid(self, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """`(range, scale)` [] as they stand, None where they depend on the tensor or nothing was seen yet."""
        return None

    def learned_gradient(self, grad: Tensor, x: Tensor, limit: Tensor, scale: Tensor) -> Tensor:
        """Gradient of `learned` [] from that of the quantized `x`, quantized at `(limit, scale)`."""
        raise NotImplementedError

    def range_of(self, x: Tensor) -> Tensor:
        """Range (scalar tensor) that `x` is to be quantized over."""
        raise NotImplementedError

    def scale_of(self, limit: Tensor, dtype: torch.dtype) -> Tensor:
        """Scale [] that brings `limit` to the largest integer, for numbers of `dtype`; at least float32 itself."""
        exact = torch.promote_types(dtype, torch.float32)
        return round_scale((limit / largest_integer(self.bits)).to(exact), self.bits)

    def now(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(range, scale)` [] for `x`; UserError, naming the place, where they are not finite."""
        limit = self.range_of(x)
        self.refuse_unless_finite(limit)
        return limit, self.scale_of(limit, x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """`x` on the grid; gradient straight through inside the range, zero outside."""
        if self.is_float:
            return x
        wide = at_least_float32(x)
        with torch.no_grad():
            limit, scale = self.now(wide)
            quantized = to_grid(wide, scale, self.bits).mul_(scale)
            inside = wide.abs() <= limit
        return straight_through(wide, quantized, inside).to(x.dtype)

    def integers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(int64, scale)`; UserError for a float quantizer."""
        if self.is_float:
            raise UserError("a float activation has no integers; give act_bits below 32")
        with torch.no_grad():
            wide = at_least_float32(x)
            scale = self.now(wide)[1]
            return to_grid(wide, scale, self.bits).to(torch.int64), scale


def largest(x: Tensor) -> Tensor:
    """Largest magnitude [] in `x`, 1 if it is empty."""
    return x.abs().amax() if x.numel() else x.new_ones(())


class DynamicActQuantizer(ActQuantizer):
    """The published scheme: the range is the largest magnitude of the tensor, anew at each call.

    A result then depends on what else is in the batch; it is here for comparison. Inside a recurrence the tensor is
    that of a time step.
    """

    @property
    def per_call(self) -> bool:
        """Always."""
        return True

    def range_of(self, x: Tensor) -> Tensor:
        """Largest magnitude in `x`."""
        return largest(x)
