"""Coordinates inside blocks: block-local COO."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, BitWriter, width_of
from frenchpress.compress.codes.index import IndexCode, Mask, mask_of_places

_SIDE_BITS, _COUNT_BITS = 8, 5
_SIDES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class BlockCoo(IndexCode):
    """For each square block of `side` (1..256, None: the best power of two) its count and places inside.

    ceil(rows / side) ceil(columns / side) c + k ceil(log2 side^2) bits, c those of the largest count of a block.
    Blocks at the edge may be smaller and are written alike.
    """

    name = "block_coo"
    side: int | None = None

    def __post_init__(self) -> None:
        if self.side is not None and not 1 <= self.side <= 1 << _SIDE_BITS:
            raise UserError(f"index code block_coo: side {self.side} is out of range; use 1 to {1 << _SIDE_BITS}")

    @property
    def options(self) -> str:
        """The side."""
        return "" if self.side is None else f"{self.side} x {self.side}"

    def fit(self, mask: Mask) -> BlockCoo:
        """The power of two with the fewest bits."""
        if self.side is not None:
            return self
        return BlockCoo(min(_SIDES, key=lambda side: _cost(mask, side)))

    def write(self, mask: Mask, out: BitWriter) -> None:
        """Append side, count width, counts, places."""
        side = self.fit(mask).side or 1
        counts, places = _cut(mask, side)
        width = int(counts.max(initial=0)).bit_length()
        out.put(side - 1, _SIDE_BITS)
        out.put(width, _COUNT_BITS)
        out.put(counts, width)
        out.put(places, width_of(side * side))

    @classmethod
    def read(cls, rows: int, columns: int, source: BitReader) -> Mask:
        """Side, count width, counts, places."""
        side, width = source.take_one(_SIDE_BITS) + 1, source.take_one(_COUNT_BITS)
        across = -(-columns // side)
        counts = source.take(-(-rows // side) * across, width)
        if counts.size and int(counts.max()) > side * side:
            raise UserError("encoded matrix: damaged (a block with more weights than places)")
        places = source.take(int(counts.sum()), width_of(side * side))
        block = np.repeat(np.arange(len(counts)), counts)
        if np.any(np.diff(block * side * side + places) <= 0):
            raise UserError("encoded matrix: damaged (kept weights of a block out of order)")
        row = block // max(1, across) * side + places // side
        column = block % max(1, across) * side + places % side
        if np.any((row >= rows) | (column >= columns) | (places >= side * side)):
            raise UserError("encoded matrix: damaged (kept weights outside the matrix)")
        return mask_of_places(np.sort(row * columns + column), rows, columns)


def _cut(mask: Mask, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Kept weights per block [blocks], and their places inside, block by block [k]."""
    row, column = np.nonzero(mask)
    across = -(-mask.shape[1] // side)
    block = row // side * across + column // side
    order = np.argsort(block, kind="stable")
    places = row % side * side + column % side
    return np.bincount(block, minlength=-(-mask.shape[0] // side) * across), places[order]


def _cost(mask: Mask, side: int) -> int:
    counts, places = _cut(mask, side)
    return len(counts) * int(counts.max(initial=0)).bit_length() + len(places) * width_of(side * side)
