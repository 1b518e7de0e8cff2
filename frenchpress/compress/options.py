"""What is done to one layer, as data; the `compress:` section of a `.cfg` fills these in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from frenchpress.common import UserError

FLOAT_BITS = 32


def parse_fraction(value: Fraction | float | int | str, what: str = "keep") -> Fraction:
    """Read a kept fraction, `"4/16"`, `0.25`, `1` or a Fraction; UserError unless 0 < value <= 1."""
    try:
        if isinstance(value, bool):
            raise TypeError
        # A float is read as the decimal that it prints as: 0.1 is one tenth, not its nearest binary fraction.
        fraction = Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        raise UserError(f"{what}: {value!r} is not a fraction; write 4/16 or 0.25") from None
    if not 0 < fraction <= 1:
        raise UserError(f"{what}: {value} is out of range; it must be above 0 and at most 1")
    return fraction


def check_bits(bits: int, what: str) -> None:
    """UserError unless `bits` is a whole number in 1..32."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= FLOAT_BITS:
        raise UserError(f"{what}: {bits!r} is not a number of bits; use 1 to 32 (32: float)")


@dataclass(frozen=True)
class HcgsOptions:
    """Hierarchical coarse-grain sparsity (Kadetotad et al., JSSC 2020), one entry per level, coarse first.

    `blocks`: side of the square blocks. `keep`: fraction of the blocks of a row of blocks (level 1), or of a
    kept block's row of sub-blocks (level 2 and on), that is kept; strings such as `"4/16"` are read.
    `share_gates`: the four gates of an LSTM layer have the same kept blocks.
    """

    blocks: tuple[int, ...] = (32, 2)
    keep: tuple[Fraction, ...] = (Fraction(4, 16), Fraction(4, 16))
    share_gates: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.blocks, Sequence) or isinstance(self.blocks, str) or not self.blocks:
            raise UserError(f"hcgs.blocks: {self.blocks!r} is not a list of block sizes; write e.g. [32, 2]")
        if not isinstance(self.keep, Sequence) or isinstance(self.keep, str):
            raise UserError(f"hcgs.keep: {self.keep!r} is not a list of fractions; write e.g. [4/16, 4/16]")
        if len(self.blocks) != len(self.keep):
            raise UserError(
                f"hcgs: {len(self.blocks)} block sizes, {len(self.keep)} keep fractions; one each per level"
            )
        for block in self.blocks:
            if isinstance(block, bool) or not isinstance(block, int) or block < 1:
                raise UserError(f"hcgs.blocks: {block!r} is not a block size; use whole numbers from 1 up")
        for outer, inner in zip(self.blocks, self.blocks[1:]):
            if inner > outer:
                raise UserError(f"hcgs.blocks: {inner} lies inside {outer} and must not be larger than it")
        object.__setattr__(self, "blocks", tuple(self.blocks))
        object.__setattr__(self, "keep", tuple(parse_fraction(k, "hcgs.keep") for k in self.keep))

    @property
    def asked_density(self) -> float:
        """The product of the kept fractions; the realised density differs where sizes do not divide."""
        return float(math.prod(self.keep))


@dataclass(frozen=True)
class LayerPress:
    """How one layer is pressed: everything that an LSTM layer or a head needs to know. 32 bits mean float.

    `quantizer`: name in the weight quantizer registry (`uniform`, `ceil`, `none`). `act_quantizer`: `fixed`
    (static scale) or `dynamic` (maximum of the tensor at each call). Names are checked as the layer is built.
    """

    weight_bits: int = FLOAT_BITS
    act_bits: int = FLOAT_BITS
    quantizer: str = "uniform"
    act_quantizer: str = "fixed"
    hcgs: HcgsOptions | None = None

    def __post_init__(self) -> None:
        check_bits(self.weight_bits, "weight_bits")
        check_bits(self.act_bits, "act_bits")
