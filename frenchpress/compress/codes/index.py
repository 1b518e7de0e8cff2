"""What every index code is: a way to write a mask and to read it back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, BitWriter, width_of
from frenchpress.common.hierarchy import Block, Mask


@dataclass(frozen=True, eq=False)
class Origin:
    """What is known of how a mask was made, for a code that can make use of it; a reader needs none of it.

    `levels`: blocks of each level, coarse first, where kept blocks lie in kept blocks. `piece`: of what size the mask
    has few different pieces. `shared`: height and width of blocks, and how many weights the patterns have of which
    each keeps one, beside others. `counted`: of what size the blocks are that keep equally many weights. `structure`:
    bool [rows / g, columns], the mask that was thinned in each of g parts, and `structure_origin`, how that was made.
    """

    levels: tuple[Block, ...] = ()
    piece: Block | None = None
    shared: tuple[int, int, int] | None = None
    counted: Block | None = None
    structure: Mask | None = None
    structure_origin: Origin | None = None


class IndexCode(ABC):
    """Writes the places of the kept weights of a mask, bool [rows, columns].

    What the reader needs beside rows and columns stands in the stream and is counted. An object carries options;
    those left open are found by `fit`.
    """

    name: ClassVar[str]

    def fit(self, mask: Mask) -> IndexCode:
        """The same code with every open option at the value that needs the fewest bits for `mask`."""
        return self

    @classmethod
    def candidates(cls, mask: Mask, origin: Origin) -> Sequence[IndexCode]:
        """This code as it may suit a mask of such an origin; UserError where it needs another origin."""
        return [cls().fit(mask)]

    @property
    def options(self) -> str:
        """The options in words, for a table."""
        return ""

    @abstractmethod
    def write(self, mask: Mask, out: BitWriter) -> None:
        """Append the index of `mask`; UserError if this code cannot hold it."""

    @classmethod
    @abstractmethod
    def read(cls, rows: int, columns: int, source: BitReader) -> Mask:
        """The mask, bool [rows, columns]; UserError on bytes that no mask has."""


def bits_of(code: IndexCode, mask: Mask) -> int:
    """Bits that `code` writes for `mask`; UserError if it cannot hold it."""
    out = BitWriter()
    code.write(mask, out)
    return out.bits


def smallest(codes: Sequence[IndexCode], mask: Mask) -> tuple[IndexCode, int]:
    """The one of `codes` with the fewest bits for `mask`, and those; UserError of the last one if none can hold it."""
    found, refused = [], UserError("no index code")
    for code in codes:
        try:
            found.append((code, bits_of(code, mask)))
        except UserError as error:
            refused = error
    if not found:
        raise refused
    return min(found, key=lambda pair: pair[1])


def put_count(mask: Mask, out: BitWriter) -> int:
    """Append the number of kept weights in the bits that rows * columns needs; returns it."""
    kept = int(np.count_nonzero(mask))
    out.put(kept, width_of(mask.size + 1))
    return kept


def take_count(size: int, source: BitReader) -> int:
    """The number of kept weights of a mask of `size` weights."""
    kept = source.take_one(width_of(size + 1))
    if kept > size:
        raise UserError(f"encoded matrix: damaged ({kept} of {size} weights kept)")
    return kept


def mask_of_places(places: NDArray[np.int64], rows: int, columns: int) -> Mask:
    """Mask with the row-major `places` kept; UserError unless they ascend and lie inside."""
    if places.size and (int(places[0]) < 0 or int(places[-1]) >= rows * columns or np.any(np.diff(places) <= 0)):
        raise UserError("encoded matrix: damaged (kept weights out of order or outside the matrix)")
    mask = np.zeros(rows * columns, np.bool_)
    mask[places] = True
    return mask.reshape(rows, columns)
