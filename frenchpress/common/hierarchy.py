"""Masks of blocks in blocks: of each row of blocks the numbers of the kept ones, then the same inside each kept block.

Hierarchical coarse-grain sparsity (Kadetotad et al., JSSC 2020, sec. II). The number of a block in a row of n takes
ceil(log2 n) bits. The index code `hcgs` and packed models share this walk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from frenchpress.common.bits import BitReader, width_of
from frenchpress.common.errors import UserError

Mask = NDArray[np.bool_]
Block = tuple[int, int]
"""Height and width."""


def in_words(blocks: Sequence[Block]) -> str:
    """`32, 2`, or `32 x 16, 4 x 2` of blocks that are not square."""
    return ", ".join(str(height) if height == width else f"{height} x {width}" for height, width in blocks)


def rows_of_blocks(mask: Mask, blocks: Sequence[Block], level: int = 0) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Level, number of blocks and kept block numbers (int64) of every row of blocks, in writing order.

    UserError at a block of the last level that is kept in part.
    """
    (height, width), last = blocks[level], level + 1 == len(blocks)
    starts = np.arange(0, mask.shape[1], width)
    for top in range(0, mask.shape[0], height):
        row = mask[top : top + height]
        kept = np.flatnonzero(np.logical_or.reduceat(row.any(0), starts)) if len(starts) else starts
        yield level, len(starts), kept
        for block in kept.tolist():
            inner = row[:, block * width : (block + 1) * width]
            if not last:
                yield from rows_of_blocks(inner, blocks, level + 1)
            elif not inner.all():
                raise UserError(f"a block of {in_words(blocks[-1:])} is kept in part")


def fill_blocks(
    mask: Mask, blocks: Sequence[Block], kept_of: Callable[[int, int], int], reader: BitReader, level: int = 0
) -> None:
    """Set what `reader` says is kept in `mask`, False before. `kept_of(level, n)`: how many of n blocks of a row are.

    UserError where block numbers do not ascend or lie outside, or nothing of a kept block is kept.
    """
    (height, width), last = blocks[level], level + 1 == len(blocks)
    columns = -(-mask.shape[1] // width)
    count = kept_of(level, columns)
    if not count:
        if level:
            raise UserError("damaged index: a kept block of which nothing is kept")
        return
    for top in range(0, mask.shape[0], height):
        kept = reader.take(count, width_of(columns))
        if int(kept[-1]) >= columns or np.any(np.diff(kept) <= 0):
            raise UserError(f"damaged index: {kept.tolist()} are not ascending block numbers below {columns}")
        for block in kept.tolist():
            inner = mask[top : top + height, block * width : (block + 1) * width]
            if last:
                inner[...] = True
            else:
                fill_blocks(inner, blocks, kept_of, reader, level + 1)
