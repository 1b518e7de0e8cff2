"""The index of a mask without structure: how many removed weights stand before each kept one, row by row.

A run is written in numbers of `width` bits. The largest number says that so many are removed and the run goes on, so
that a run of g takes 1 + floor(g / (2^width - 1)) numbers. What follows the last kept weight is not written. These are
the numbers of the index code `run_length` (docs/index_codes.md), by which size.yaml charges such a mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.packed.bits import BitReader, pack_bits

Mask = NDArray[np.bool_]

WIDEST = 16
_AT_ONCE = 4096  # numbers read ahead, so that a file of nothing but long runs takes no longer than others


@dataclass(frozen=True)
class Runs:
    """What a reader must know of one mask beside the numbers: weights kept, and bits of a number, 1 to WIDEST."""

    kept: int
    width: int

    @property
    def top(self) -> int:
        """The number that does not end its run."""
        return (1 << self.width) - 1

    @classmethod
    def of(cls, mask: Mask) -> Runs:
        """Those of `mask` with the fewest bits, the narrower of two equals."""
        runs = _runs(mask)
        # One bit more than the longest run needs is enough for every run to take one number.
        widths = range(1, min(WIDEST, (int(runs.max(initial=0)) + 1).bit_length()) + 1)
        return min((cls(len(runs), width) for width in widths), key=lambda r: r.width * int((1 + runs // r.top).sum()))


def _runs(mask: Mask) -> NDArray[np.int64]:
    return np.diff(np.flatnonzero(mask), prepend=-1) - 1


def encode_runs(mask: Mask) -> NDArray[np.uint8]:
    """Bits of the index of `mask` [rows, columns], with the width of `Runs.of`."""
    runs, form = _runs(mask), Runs.of(mask)
    more, last = np.divmod(runs, form.top)
    numbers = np.full(int(more.sum()) + len(runs), form.top, np.int64)
    numbers[np.cumsum(more + 1) - 1] = last
    return pack_bits(numbers, form.width)


def decode_runs(reader: BitReader, shape: tuple[int, int], runs: Runs) -> Mask:
    """The mask bool [rows, columns]; UserError when a run ends outside of it, or when the numbers are cut short."""
    mask = np.zeros(shape, np.bool_)
    numbers = _numbers(reader, runs, mask.size)
    ends = np.flatnonzero(numbers != runs.top)
    # A kept weight takes a place of its own behind its run.
    places = np.cumsum(numbers)[ends] + np.arange(runs.kept)
    if runs.kept and places[-1] >= mask.size:
        raise UserError(f"index: a run leads to place {places[-1]} of {mask.size}")
    mask.reshape(-1)[places] = True
    return mask


def _numbers(reader: BitReader, runs: Runs, size: int) -> NDArray[np.int64]:
    """The numbers of all runs and no more; UserError as soon as they lead out of `size` places."""
    pieces: list[NDArray[np.int64]] = []
    missing, place = runs.kept, 0
    while missing:
        ahead = min(max(missing, _AT_ONCE), reader.left // runs.width)
        numbers = reader.take(max(1, ahead), runs.width)
        ends = np.flatnonzero(numbers != runs.top)[:missing]
        if len(ends) == missing:
            reader.back((len(numbers) - 1 - int(ends[-1])) * runs.width)
            numbers = numbers[: ends[-1] + 1]
        missing -= len(ends)
        place += int(numbers.sum())
        if place > size:
            raise UserError(f"index: a run leads to place {place} of {size}")
        pieces.append(numbers)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
