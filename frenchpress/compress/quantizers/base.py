"""What every quantizer is, every one of weights, and the one that leaves weights in float."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.compress.options import FLOAT_BITS, NoOptions, check_bits
from frenchpress.compress.quantizers.codes import TENSOR, Codes, Granularity
from frenchpress.compress.quantizers.grid import at_least_float32, largest_integer, scale_bits, straight_through


class BitQuantizer(nn.Module):
    """Base of all quantizers, of weights and of activations: `bits` of those in `takes`.

    `Options` is the dataclass of what a `.cfg` can say of the method. `called`: what errors name, see
    `name_quantizers`.
    """

    Options: ClassVar[type] = NoOptions
    takes: ClassVar[range] = range(1, FLOAT_BITS + 1)
    called = "a tensor"

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

    def refuse_unless_finite(self, largest: Tensor, why: str = "NaN or infinite, or too large for float32") -> None:
        """UserError that names the matrix unless `largest` [], which anything not finite makes so too, is a number.

        A GPU is not waited for: what is not finite passes on to the loss, and is found there.
        """
        if largest.device.type == "cpu" and not torch.compiler.is_compiling() and not bool(largest.isfinite()):
            raise UserError(f"{self.called}: holds numbers that are {why}")

    def extra_repr(self) -> str:
        """Bits, for printing a model."""
        return f"bits={self.bits}"


def name_quantizers(model: nn.Module) -> None:
    """Let the errors of every quantizer in `model` name the tensor that it quantizes, by its place in the model."""
    for name, module in model.named_modules():
        if isinstance(module, BitQuantizer):
            module.called = name.removesuffix(".quantizer")


class Quantizer(BitQuantizer):
    """Base of the weight quantizers, rows along the last dimension: all but the gradient is in `place`.

    Half precision is computed in float32 inside. The gradient passes unchanged unless `quantized` says otherwise.
    """

    def __init__(self, bits: int = FLOAT_BITS, options: object = None) -> None:
        super().__init__(bits)

    @property
    def granularity(self) -> Granularity:
        """What one scale serves. What takes weights out of their places asks for this."""
        return TENSOR

    @property
    def top(self) -> int:
        """The largest integer."""
        return largest_integer(self.bits)

    @property
    def movable(self) -> bool:
        """Whether weights may leave their places in a row, to be quantized in another order or without removed ones."""
        return self.granularity.whole_rows

    def scales_stored(self, rows: int, columns: int = 1) -> int:
        """Number of scales stored with a matrix."""
        return 0 if self.is_float else self.granularity.scales(rows, columns)

    @property
    def table_bits(self) -> int:
        """Bits of a table of levels that is found from the weights, and stored with them."""
        return 0

    def side_bits(self, rows: int, columns: int) -> int:
        """Bits of all that is stored beside the codes of a matrix: its scales, and zero points or a table."""
        return self.scales_stored(rows, columns) * self.scale_bits + self.table_bits

    @property
    def scale_bits(self) -> int:
        """Bits that one stored scale takes."""
        return scale_bits(self.bits)

    @property
    def settled_from(self) -> int | None:
        """The epoch, counted from 0, from which on all weights are quantized; None: `before_step` changes nothing."""
        return None

    @property
    def sees_gradients(self) -> bool:
        """Whether levels go by the gradients of training steps, of a whole batch."""
        return False

    @property
    def held(self) -> Tensor | None:
        """Weights that training leaves where they are, bool [out, in], or [] where it is all; None: there are none."""
        return None

    def size_for(self, shape: tuple[int, int]) -> None:
        """Make what is kept of every weight of a matrix of `shape`; for methods that do."""

    def before_step(self, x: Tensor, epoch: int, step: int) -> None:
        """Change what is due in training with the weights `x` [out, in], for methods that do; both counted from 0."""

    def place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(integers as floats, scale)` of a tensor that needs no gradient, at least float32; a fresh tensor each."""
        raise NotImplementedError

    def draw(self, x: Tensor, scale: Tensor) -> Tensor | None:
        """Integers that training multiplies with in place of the nearest ones, drawn; None: those of `place`."""
        return None

    def inside(self, x: Tensor, scale: Tensor) -> Tensor | None:
        """Where the gradient passes, bool; None: everywhere."""
        return None

    def placed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`place`; UserError, naming the matrix, where something is not finite or becomes so."""
        integers, scale = self.place(x)
        self.refuse_unless_finite(x.sum() + scale.amax() * self.top)
        return integers, scale

    def quantized(self, x: Tensor) -> Tensor:
        """`x` on the grid, differentiable; at least float32."""
        with torch.no_grad():
            integers, scale = self.placed(x)
            drawn = self.draw(x, scale) if self.training else None
            on_grid = (integers if drawn is None else drawn).mul_(scale)
            inside = self.inside(x, scale)
        return straight_through(x, on_grid, inside)

    def forward(self, x: Tensor) -> Tensor:
        """`x` [..., columns] on the grid, same shape and dtype."""
        return x if self.is_float else self.quantized(at_least_float32(x)).to(x.dtype)

    def encode(self, x: Tensor) -> Codes:
        """What is stored of `x` [..., columns]; UserError for a float quantizer."""
        if self.is_float:
            raise UserError("a float matrix has no integers; give weight_bits below 32")
        with torch.no_grad():
            integers, scale = self.placed(at_least_float32(x.detach()))
            return self.codes_of(integers.to(torch.int64), scale)

    def codes_of(self, integers: Tensor, scale: Tensor) -> Codes:
        """Codes of what `place` gave: the integers themselves."""
        return Codes(integers, scale)

    def integers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(int64 [..., columns], scale)`, whose product is `forward(x)` to the bit (rounded to half where x is)."""
        codes = self.encode(x)
        return codes.integers, codes.scale


class NoQuantizer(Quantizer):
    """Float whatever the bits say."""

    def __init__(self, bits: int = FLOAT_BITS, options: object = None) -> None:
        check_bits(bits, "bits")
        super().__init__(FLOAT_BITS)
