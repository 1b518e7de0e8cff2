"""Masks as runs: how many removed weights stand before each kept one, row by row.

A run is written in numbers of `width` bits. The largest number, the top 2^width - 1, says that so many are removed and
the run goes on, so that a run of g takes 1 + floor(g / top) numbers. What follows the last kept weight is not written.
The index code `run_length` and packed models share these numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frenchpress.common.bits import BitReader
from frenchpress.common.errors import UserError

Mask = NDArray[np.bool_]

_AT_ONCE = 4096  # numbers read ahead, so that a file of nothing but long runs takes no longer than others


def top_of(width: int) -> int:
    """The number of `width` bits that does not end its run."""
    return (1 << width) - 1


def runs_of(mask: Mask) -> NDArray[np.int64]:
    """Removed weights before each kept one, int64 [kept]."""
    return np.diff(np.flatnonzero(mask), prepend=-1) - 1


def best_width(mask: Mask, widest: int) -> int:
    """The width, 1 to `widest`, with the fewest bits for `mask`, the narrower of two equals."""
    runs = runs_of(mask)
    # A width whose top exceeds every run needs no second number; wider is only longer.
    enough = (int(runs.max(initial=0)) + 1).bit_length()
    return min(range(1, min(widest, enough) + 1), key=lambda width: width * int((1 + runs // top_of(width)).sum()))


def run_numbers(mask: Mask, width: int) -> NDArray[np.int64]:
    """All numbers of `mask`, int64."""
    runs, top = runs_of(mask), top_of(width)
    more, last = np.divmod(runs, top)
    numbers = np.full(int(more.sum()) + len(runs), top, np.int64)
    numbers[np.cumsum(more + 1) - 1] = last
    return numbers


def take_runs(reader: BitReader, shape: tuple[int, int], kept: int, width: int) -> Mask:
    """The mask bool [rows, columns]; UserError where a run ends outside of it, or the numbers are cut short."""
    mask = np.zeros(shape, np.bool_)
    numbers = _take_numbers(reader, kept, width, mask.size)
    ends = np.flatnonzero(numbers != top_of(width))
    # A kept weight takes a place of its own behind its run.
    places = np.cumsum(numbers)[ends] + np.arange(kept)
    if kept and places[-1] >= mask.size:
        raise UserError(f"damaged index: a run leads to place {places[-1]} of {mask.size}")
    mask.reshape(-1)[places] = True
    return mask


def _take_numbers(reader: BitReader, kept: int, width: int, size: int) -> NDArray[np.int64]:
    """The numbers of all runs and no more; UserError as soon as they lead out of `size` places."""
    pieces: list[NDArray[np.int64]] = []
    missing, place = kept, 0
    while missing:
        ahead = min(max(missing, _AT_ONCE), reader.left // width)
        numbers = reader.take(max(1, ahead), width)
        ends = np.flatnonzero(numbers != top_of(width))[:missing]
        if len(ends) == missing:
            reader.back((len(numbers) - 1 - int(ends[-1])) * width)
            numbers = numbers[: ends[-1] + 1]
        missing -= len(ends)
        place += int(numbers.sum())
        if place > size:
            raise UserError(f"damaged index: a run leads to place {place} of {size}")
        pieces.append(numbers)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
