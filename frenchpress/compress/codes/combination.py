"""Blocks that all keep the same number of weights, each by the number of its combination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, BitWriter, width_of
from frenchpress.common.combinations import Counted
from frenchpress.compress.codes.index import Block, IndexCode, Mask, Origin


@dataclass(frozen=True)
class Combination(IndexCode):
    """Which of the C(size, k) ways each block of `block` (height, width) keeps its k weights, ceil(log2 C) bits.

    Blocks at an edge have a count of their own. Without a block every row is one.
    """

    name = "combination"
    block: Block | None = None

    @property
    def options(self) -> str:
        """The block."""
        return "" if self.block is None else f"{self.block[0]} x {self.block[1]}"

    @classmethod
    def candidates(cls, mask: Mask, origin: Origin) -> Sequence[IndexCode]:
        """With the blocks in which the method keeps equally many."""
        if origin.counted is None:
            raise UserError("index code combination: the mask was not made to keep equally many in every block")
        return [cls(origin.counted)]

    def write(self, mask: Mask, out: BitWriter) -> None:
        """Append height and width, the count of each kind of block, numbers."""
        try:
            form = Counted.of(mask, self.block or (1, mask.shape[1]))
        except UserError as error:
            raise UserError(f"index code combination: {error}") from None
        out.put_varint(form.height)
        out.put_varint(form.width)
        if mask.size:
            out.put(form.counts, width_of(form.height * form.width + 1))
            out.put_bits(form.write(mask, highest_first=True))

    @classmethod
    def read(cls, rows: int, columns: int, source: BitReader) -> Mask:
        """Height and width, counts, numbers."""
        height, width = source.take_varint(), source.take_varint()
        if not rows * columns:
            return np.zeros((rows, columns), np.bool_)
        whole, right, bottom, corner = source.take(4, width_of(min(height * width, rows * columns) + 1)).tolist()
        form = Counted(height, width, (whole, right, bottom, corner))
        try:
            form.check((rows, columns))
            return form.read((rows, columns), source.take_bits, highest_first=True)
        except UserError as error:
            raise UserError(f"encoded matrix: cut off or damaged ({error})") from None
