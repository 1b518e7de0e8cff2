"""The codes without numbers: a bit per weight, a bit per row and column, and nothing at all."""

from __future__ import annotations

import numpy as np

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, BitWriter
from frenchpress.compress.codes.index import IndexCode, Mask


class Bitmap(IndexCode):
    """One bit per weight: rows * columns bits whatever is kept."""

    name = "bitmap"

    def write(self, mask: Mask, out: BitWriter) -> None:
        """Append the mask itself."""
        out.put_bits(mask)

    @classmethod
    def read(cls, rows: int, columns: int, source: BitReader) -> Mask:
        """The mask itself."""
        return source.take_bits(rows * columns).astype(np.bool_).reshape(rows, columns)


class Full(IndexCode):
    """No index: every weight is kept."""

    name = "full"

    def write(self, mask: Mask, out: BitWriter) -> None:
        """Append nothing; UserError where a weight is removed."""
        removed = mask.size - int(np.count_nonzero(mask))
        if removed:
            raise UserError(
                f"index code full: {removed} of {mask.size} weights are removed; use a code that says which"
            )

    @classmethod
    def read(cls, rows: int, columns: int, source: BitReader) -> Mask:
        """All True."""
        return np.ones((rows, columns), np.bool_)


class Lines(IndexCode):
    """One bit per row and one per column: a weight is kept where both its row and its column are."""

    name = "lines"

    def write(self, mask: Mask, out: BitWriter) -> None:
        """Append rows, then columns; UserError where the mask is not some rows times some columns."""
        rows, columns = mask.any(1), mask.any(0)
        if not np.array_equal(mask, rows[:, None] & columns):
            raise UserError("index code lines: not a mask of whole rows and columns; use another code")
        out.put_bits(rows)
        out.put_bits(columns)

    @classmethod
    def read(cls, rows: int, columns: int, source: BitReader) -> Mask:
        """Rows and columns."""
        lines = source.take_bits(rows + columns).astype(np.bool_)
        return lines[:rows, None] & lines[rows:]
