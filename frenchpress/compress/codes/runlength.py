"""Runs of removed weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.compress.codes.bits import BitReader, BitWriter
from frenchpress.compress.codes.index import IndexCode, Mask, mask_of_places, put_count, take_count

_WIDTH_BITS = 5
_WIDEST = 1 << _WIDTH_BITS


@dataclass(frozen=True)
class RunLength(IndexCode):
    """How many removed weights, row by row, stand before each kept one, in `width` bits (1..32, None: the best).

    The largest number, 2^width - 1, says that so many are removed and the run goes on; thus a run of g takes
    1 + floor(g / (2^width - 1)) numbers. What follows the last kept weight is not stored.
    """

    name = "run_length"
    width: int | None = None

    def __post_init__(self) -> None:
        if self.width is not None and not 1 <= self.width <= _WIDEST:
            raise UserError(f"index code run_length: width {self.width} is out of range; use 1 to {_WIDEST}")

    @property
    def options(self) -> str:
        """The width."""
        return "" if self.width is None else f"{self.width} bit"

    def fit(self, mask: Mask) -> RunLength:
        """The width with the fewest bits, the smaller of two equals."""
        if self.width is not None:
            return self
        runs = _runs(mask)
        # A width whose largest number exceeds every run needs no second number; wider is only longer.
        enough = (int(runs.max(initial=0)) + 1).bit_length()
        costs = {width: width * int((1 + runs // _top(width)).sum()) for width in range(1, enough + 1)}
        return RunLength(min(costs, key=lambda width: (costs[width], width)))

    def write(self, mask: Mask, out: BitWriter) -> None:
        """Append width, count and runs."""
        width = self.fit(mask).width or 1
        out.put(width - 1, _WIDTH_BITS)
        put_count(mask, out)
        runs, top = _runs(mask), _top(width)
        more, last = np.divmod(runs, top)
        numbers = np.full(int(more.sum()) + len(runs), top, np.int64)
        numbers[np.cumsum(more + 1) - 1] = last
        out.put(numbers, width)

    @classmethod
    def read(cls, rows: int, columns: int, source: BitReader) -> Mask:
        """Width, count and runs."""
        width = source.take_one(_WIDTH_BITS) + 1
        kept, top = take_count(rows * columns, source), _top(width)
        numbers = _take_runs(source, kept, width)
        ends = np.flatnonzero(numbers != top)
        if numbers.size and int(numbers.max()) > rows * columns:
            raise UserError("encoded matrix: damaged (a run longer than the matrix)")
        # A kept weight takes a place of its own behind its run.
        return mask_of_places(np.cumsum(numbers)[ends] + np.arange(kept), rows, columns)


def _top(width: int) -> int:
    return (1 << width) - 1


def _runs(mask: Mask) -> NDArray[np.int64]:
    places = np.flatnonzero(mask)
    return np.diff(places, prepend=-1) - 1


def _take_runs(source: BitReader, kept: int, width: int) -> NDArray[np.int64]:
    """All numbers up to the one that ends run number `kept`."""
    start, top = source.position, _top(width)
    numbers = source.take(source.left // width, width)
    ends = np.flatnonzero(numbers != top)[:kept]
    if len(ends) < kept:
        raise UserError("encoded matrix: cut off or damaged (fewer runs than kept weights)")
    used = int(ends[-1]) + 1 if kept else 0
    source.position = start + used * width
    return numbers[:used]
