"""Coordinates of the kept weights: COO, CSR, CSC."""

from __future__ import annotations

import numpy as np

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, BitWriter, width_of
from frenchpress.compress.codes.index import IndexCode, Mask, mask_of_places, put_count, take_count


class Coo(IndexCode):
    """Row and column of each kept weight: k (ceil(log2 rows) + ceil(log2 columns)) bits and the count."""

    name = "coo"

    def write(self, mask: Mask, out: BitWriter) -> None:
        """Append count, rows, columns."""
        put_count(mask, out)
        for numbers, size in zip(np.nonzero(mask), mask.shape):
            out.put(numbers, width_of(size))

    @classmethod
    def read(cls, rows: int, columns: int, source: BitReader) -> Mask:
        """Count, rows, columns."""
        kept = take_count(rows * columns, source)
        row, column = source.take(kept, width_of(rows)), source.take(kept, width_of(columns))
        _check_below(column, columns)
        return mask_of_places(row * columns + column, rows, columns)


class Csr(IndexCode):
    """Where each row begins, and the column of each kept weight.

    (rows - 1) ceil(log2(k + 1)) + k ceil(log2 columns) bits and the count. The first row begins at 0 and the
    last ends at the count, so that neither is stored.
    """

    name = "csr"

    def write(self, mask: Mask, out: BitWriter) -> None:
        """Append count, row pointers, columns."""
        kept = put_count(mask, out)
        out.put(np.cumsum(mask.sum(1))[:-1], width_of(kept + 1))
        out.put(np.nonzero(mask)[1], width_of(mask.shape[1]))

    @classmethod
    def read(cls, rows: int, columns: int, source: BitReader) -> Mask:
        """Count, row pointers, columns."""
        kept = take_count(rows * columns, source)
        if not rows:
            return np.zeros((rows, columns), np.bool_)
        inner = source.take(rows - 1, width_of(kept + 1))
        pointers = np.concatenate([[0], inner, [kept]])
        counts = np.diff(pointers)
        if np.any(counts < 0):
            raise UserError("encoded matrix: damaged (a row that ends before it begins)")
        column = source.take(kept, width_of(columns))
        _check_below(column, columns)
        return mask_of_places(np.repeat(np.arange(rows), counts) * columns + column, rows, columns)


class Csc(IndexCode):
    """CSR of the transposed matrix: (columns - 1) ceil(log2(k + 1)) + k ceil(log2 rows) bits and the count."""

    name = "csc"

    def write(self, mask: Mask, out: BitWriter) -> None:
        """Append count, column pointers, rows."""
        Csr().write(mask.T, out)

    @classmethod
    def read(cls, rows: int, columns: int, source: BitReader) -> Mask:
        """Count, column pointers, rows."""
        return np.ascontiguousarray(Csr.read(columns, rows, source).T)


def _check_below(numbers: np.ndarray, size: int) -> None:
    """A column outside would otherwise pass for one of the next row."""
    if numbers.size and int(numbers.max()) >= size:
        raise UserError("encoded matrix: damaged (kept weights out of order or outside the matrix)")
