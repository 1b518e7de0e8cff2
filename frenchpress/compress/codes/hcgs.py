"""The hierarchical index of hierarchical coarse-grain sparsity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, BitWriter, width_of
from frenchpress.common.hierarchy import fill_blocks, in_words, rows_of_blocks
from frenchpress.compress.codes.index import Block, IndexCode, Mask, Origin

_MOST_LEVELS = 8
# Added to the number of levels where blocks are not square.
_OBLONG = 16


@dataclass(frozen=True)
class Hcgs(IndexCode):
    """Numbers of the kept blocks of each row of blocks, then the same inside every kept block.

    `blocks`: side or (height, width) of each level, coarse first, as the mask was made with. `stacked`: number of masks
    of equal height that lie on top of each other, each cut on its own. A row of n blocks that keeps m takes
    m ceil(log2 n) bits. How many are kept is the same in every row of as many blocks, and is written once for each
    width that occurs at a level.
    """

    name = "hcgs"
    blocks: tuple[int | Block, ...] = (32, 2)
    stacked: int = 1

    def __post_init__(self) -> None:
        blocks = level_blocks(self.blocks)
        fits = all(a >= c >= 1 and b >= d >= 1 for (a, b), (c, d) in zip(((1 << 42, 1 << 42), *blocks), blocks))
        if not 1 <= len(blocks) <= _MOST_LEVELS or not fits:
            raise UserError(
                f"index code hcgs: blocks {in_words(blocks)}: use 1 to {_MOST_LEVELS} blocks, none larger than the one "
                "before"
            )
        object.__setattr__(self, "blocks", blocks)

    @property
    def options(self) -> str:
        """The blocks."""
        return in_words(self.blocks)

    @classmethod
    def candidates(cls, mask: Mask, origin: Origin) -> Sequence[IndexCode]:
        """With the blocks that the mask was made with."""
        if not origin.levels:
            raise UserError("index code hcgs: the matrix was not made with HCGS")
        return [cls(origin.levels)]

    def write(self, mask: Mask, out: BitWriter) -> None:
        """Append blocks, number of masks, kept counts and block numbers; UserError if it is no such mask."""
        if self.stacked < 1 or mask.shape[0] % self.stacked:
            raise UserError(f"index code hcgs: {mask.shape[0]} rows are not {self.stacked} masks of equal height")
        parts = mask.reshape(self.stacked, mask.shape[0] // self.stacked, mask.shape[1])
        try:
            rows = [row for part in parts for row in rows_of_blocks(part, self.blocks)]
        except UserError as error:
            raise _not_hcgs(self.blocks, str(error)) from None
        counts: dict[tuple[int, int], int] = {}
        for level, columns, kept in rows:
            if counts.setdefault((level, columns), len(kept)) != len(kept):
                raise _not_hcgs(self.blocks, f"{len(kept)} and {counts[level, columns]} of {columns} are kept")
        out.put_varint(self.stacked)
        oblong = any(height != width for height, width in self.blocks)
        out.put_varint(len(self.blocks) + _OBLONG * oblong)
        for block in self.blocks:
            for side in block if oblong else block[:1]:
                out.put_varint(side)
        for level, columns in _widths(mask.shape[1], self.blocks):
            out.put(counts.get((level, columns), 0), width_of(columns + 1))
        for _, columns, kept in rows:
            out.put(kept, width_of(columns))

    @classmethod
    def read(cls, rows: int, columns: int, source: BitReader) -> Mask:
        """Blocks, number of masks, kept counts and block numbers."""
        stacked, levels = source.take_varint(), source.take_varint()
        oblong, levels = divmod(levels, _OBLONG) if levels < 2 * _OBLONG else (0, levels)
        if levels > _MOST_LEVELS or not stacked or rows % stacked:
            raise UserError(f"encoded matrix: damaged ({levels} levels, {stacked} masks in {rows} rows)")
        sides = [source.take_varint() for _ in range(levels * (1 + oblong))]
        code = cls(tuple(zip(sides[::2], sides[1::2])) if oblong else tuple(sides), stacked)
        widths = _widths(columns, code.blocks)
        counts = {key: source.take_one(width_of(key[1] + 1)) for key in widths}
        if any(kept > number for (_, number), kept in counts.items()):
            raise UserError("encoded matrix: damaged (more blocks kept than there are)")
        mask = np.zeros((rows, columns), np.bool_)
        if all(number == 1 for _, number in widths):
            # No choice and no bits: a few bytes could ask for a walk over any number of rows.
            mask[...] = all(counts.values())
            return mask
        for part in mask.reshape(stacked, rows // stacked, columns):
            fill_blocks(part, code.blocks, lambda level, number: counts.get((level, number), 0), source)
        return mask


def level_blocks(blocks: Sequence[int | Block]) -> tuple[Block, ...]:
    """Height and width of each level, of a side or of these two."""
    return tuple((block, block) if isinstance(block, int) else (block[0], block[1]) for block in blocks)


def _widths(columns: int, blocks: tuple[Block, ...]) -> list[tuple[int, int]]:
    """Every (level, number of blocks in a row) that a matrix of so many columns can have."""
    found, sizes = [], {columns}
    for level, (_, side) in enumerate(blocks):
        found += sorted((level, number) for number in {-(-size // side) for size in sizes} if number)
        sizes = {min(side, size) for size in sizes} | {size % side for size in sizes if size % side}
    return found


def _not_hcgs(blocks: tuple[Block, ...], why: str) -> UserError:
    return UserError(
        f"index code hcgs: not a mask of blocks {in_words(blocks)} with as many kept in every row of blocks ({why}); "
        "use another code"
    )
