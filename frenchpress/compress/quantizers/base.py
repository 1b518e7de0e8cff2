"""What every quantizer is, every one of weights, and the one that leaves weights in float."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.compress.options import FLOAT_BITS, NoOptions, check_bits
from frenchpress.compress.quantizers.grid import largest_integer, scale_bits, straight_through


class BitQuantizer(nn.Module):
    """Base of all quantizers, of weights and of activations: `bits` of those in `takes`.

    `Options` is the dataclass of what a `.cfg` can say of the method.
    """

    Options: ClassVar[type] = NoOptions
    takes: ClassVar[range] = range(1, FLOAT_BITS + 1)

    def __init__(self, bits: int) -> None:
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

    def take_over(self, other: BitQuantizer) -> None:
        """Go on with the steps and ranges that `other` has found, where it is the same method with as many bits."""
        if type(other) is type(self) and other.bits == self.bits:
            self.load_state_dict(other.state_dict())

    def extra_repr(self) -> str:
        """Bits, for printing a model."""
        return f"bits={self.bits}"


class Quantizer(BitQuantizer):
    """Base of the weight quantizers: rows along the last dimension."""

    def __init__(self, bits: int = FLOAT_BITS, options: object = None) -> None:
        super().__init__(bits)

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


class GridQuantizer(Quantizer):
    """A quantizer that is all in `place`; the gradient passes it unchanged."""

    def place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(integers as floats, scale)` of a tensor that needs no gradient."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """`x` [..., columns] on the grid."""
        with torch.no_grad():
            integers, scale = self.place(x)
            quantized = integers * scale
        return straight_through(x, quantized)

    def integers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(int64 [..., columns], scale)`."""
        integers, scale = self.place(x.detach())
        return integers.to(torch.int64), scale


class NoQuantizer(Quantizer):
    """Float whatever the bits say."""

    def __init__(self, bits: int = FLOAT_BITS, options: object = None) -> None:
        check_bits(bits, "bits")
        super().__init__(FLOAT_BITS)
