"""Values as places in a table of the levels that occur: for levels that lie far apart or unevenly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.common.bits import WIDEST, BitReader, BitWriter, bits_needed, width_of

_WIDTH_BITS, _STEP_BITS = 5, 6


class Codebook:
    """Every value is its place among the levels that occur, in so many bits; the table is counted.

    Of the table stand the smallest level, the number of levels, the smallest step between neighbours, and how much
    larger each step is, with as many bits as the largest needs: evenly spaced levels take none.
    """

    def bits_needed(self, values: NDArray[np.int64]) -> int:
        """Fewest bits that tell the levels apart, at least 1; UserError for values of more than 32 bits."""
        return min(bits_needed(values), max(1, width_of(len(np.unique(values)))))

    def write(self, values: NDArray[np.int64], bits: int, out: BitWriter) -> None:
        """Append the number of bits, the table, then the places."""
        if not values.size:
            return
        levels, place = np.unique(values, return_inverse=True)
        out.put(bits - 1, _WIDTH_BITS)
        put_levels(levels, out)
        out.put(place, bits)

    def read(self, count: int, source: BitReader) -> NDArray[np.int64]:
        """The number of bits, the table, then the places."""
        if not count:
            return np.zeros(0, np.int64)
        bits = source.take_one(_WIDTH_BITS) + 1
        levels = take_levels(count, source)
        place = source.take(count, bits)
        if int(place.max()) >= len(levels):
            raise UserError(f"encoded matrix: damaged (level {int(place.max())} of {len(levels)})")
        return levels[place]


def put_levels(levels: NDArray[np.int64], out: BitWriter) -> None:
    """Append `levels`, int64 [n], n at least 1, ascending."""
    steps = np.diff(levels)
    least = int(steps.min()) if len(steps) else 1
    width = width_of(int((steps - least).max(initial=0)) + 1)
    out.put_signed(int(levels[0]))
    out.put_varint(len(levels))
    out.put_varint(least)
    out.put(width, _STEP_BITS)
    out.put(steps - least, width)


def take_levels(most: int, source: BitReader) -> NDArray[np.int64]:
    """What `put_levels` wrote; UserError for none, for more than `most`, and where they do not ascend."""
    low, count, least = source.take_signed(), source.take_varint(), source.take_varint()
    width = source.take_one(_STEP_BITS)
    # Levels that occur are no more than values; a few bytes could ask for any number of them, or for huge steps.
    if not 1 <= count <= most or not 0 < least < 2 << WIDEST or width > WIDEST + 1:
        raise UserError(f"encoded matrix: damaged (a table of {count} levels for {most} values)")
    steps = source.take(count - 1, width) + least
    return low + np.concatenate([np.zeros(1, np.int64), np.cumsum(steps)])
