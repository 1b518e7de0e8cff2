"""Runs of removed weights."""

from __future__ import annotations

from dataclasses import dataclass

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, BitWriter
from frenchpress.common.runs import best_width, run_numbers, take_runs
from frenchpress.compress.codes.index import IndexCode, Mask, put_count, take_count

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
        return RunLength(best_width(mask, _WIDEST))

    def write(self, mask: Mask, out: BitWriter) -> None:
        """Append width, count and runs."""
        width = self.fit(mask).width or 1
        out.put(width - 1, _WIDTH_BITS)
        put_count(mask, out)
        out.put(run_numbers(mask, width), width)

    @classmethod
    def read(cls, rows: int, columns: int, source: BitReader) -> Mask:
        """Width, count and runs."""
        width = source.take_one(_WIDTH_BITS) + 1
        return take_runs(source, (rows, columns), take_count(rows * columns, source), width)
