"""Memories of a chip, and how fields of bits lie in their words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.common.bits import pack_bits
from frenchpress.common.typed import ranged

MEMORIES = "weights", "index", "activations", "sums", "constants"
"""By name."""

NUMBER_BITS = 32
"""Of an accumulator, a multiplier, a bias."""


@dataclass(frozen=True)
class Sram:
    """`banks` banks of `words` words of `word_bits` bits; a bank gives or takes one word a cycle.

    `kind`: dram lies outside of the chip. `access_pj`: energy of a word, in place of the table.
    """

    words: int | None = ranged(None, low=1, high=2**40)
    word_bits: int | None = ranged(None, low=1, high=65536)
    banks: int = ranged(1, low=1, high=65536)
    kind: Literal["sram", "dram"] = "sram"
    access_pj: float | None = ranged(None, low=0.0, high=1e9)

    def __post_init__(self) -> None:
        for name in ("words", "word_bits"):
            if getattr(self, name) is None:
                raise UserError(f"{name}: missing; a memory needs words and word_bits")

    @property
    def wide(self) -> int:
        """Bits of a word of all banks side by side."""
        return self.banks * self.word_bits

    @property
    def bits(self) -> int:
        """Capacity."""
        return self.words * self.wide


@dataclass(frozen=True)
class Memories:
    """What a chip keeps, each kind in memories of its own. `sums`: accumulators and cell states; `constants`:
    multipliers, biases and the table of the sigmoid. A dense chip has no `index`.
    """

    weights: Sram | None = None
    activations: Sram | None = None
    sums: Sram | None = None
    constants: Sram | None = None
    index: Sram | None = None

    def __post_init__(self) -> None:
        for name in ("weights", "activations", "sums", "constants"):
            if getattr(self, name) is None:
                raise UserError(f"{name}: missing; give its words and word_bits")
        for name in ("sums", "constants"):
            bits = getattr(self, name).word_bits
            if bits < NUMBER_BITS:
                raise UserError(f"{name}.word_bits: {bits} is below {NUMBER_BITS}, the bits of a number")

    def present(self) -> dict[str, Sram]:
        """Those that there are, by name."""
        return {name: getattr(self, name) for name in MEMORIES if getattr(self, name) is not None}


@dataclass(frozen=True)
class Packing:
    """Fields of `field_bits` in words of `word_bits`: several to a word, none across two, or several words to one."""

    field_bits: int
    word_bits: int

    @property
    def per_word(self) -> int:
        """Fields that share a word, at least 1."""
        return max(1, self.word_bits // max(1, self.field_bits))

    @property
    def words_each(self) -> int:
        """Words of one field, at least 1."""
        return max(1, -(-self.field_bits // self.word_bits))

    def words(self, fields: int) -> int:
        """Words of so many fields."""
        return -(-fields // self.per_word) * self.words_each

    def touched(self, first: int, count: int) -> int:
        """Words that hold `count` fields from number `first` on; a field fits into a word."""
        return (first + count - 1) // self.per_word - first // self.per_word + 1


def to_words(codes: NDArray[np.int64], bits: int, word_bits: int) -> list[int]:
    """Words of the fields [n, k], k numbers from 0 up of `bits` bits in each; the first number lies lowest."""
    n, k = codes.shape
    packing = Packing(k * bits, word_bits)
    fields = pack_bits(codes.ravel(), bits).reshape(n, k * bits)
    missing = -n % packing.per_word
    fields = np.concatenate([fields, np.zeros((missing, k * bits), np.uint8)])
    lines = fields.reshape(-1, packing.per_word * k * bits)
    width = packing.words_each * word_bits
    lines = np.pad(lines, ((0, 0), (0, width - lines.shape[1]))).reshape(-1, word_bits)
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(lines, axis=1, bitorder="little")]
