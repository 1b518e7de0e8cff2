"""The index of a mask: of a hierarchy, per row of blocks the numbers of the kept ones, then the same inside each.

Hierarchical coarse-grain sparsity, Kadetotad et al., JSSC 2020. A row of n blocks keeps `round(keep * n)` of them (half
up, at least one), so counts need no bits; a number takes ceil(log2 n) bits. Any other mask has the index of `runs`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.packed.bits import BitReader, pack_bits
from frenchpress.packed.runs import Mask, encode_runs


@dataclass(frozen=True)
class Level:
    """One level: blocks of `block` x `block`, of which each row of blocks keeps `numerator` / `denominator`."""

    block: int
    numerator: int
    denominator: int

    def kept(self, blocks: int) -> int:
        """How many of a row of `blocks` blocks are kept."""
        return max(1, (2 * self.numerator * blocks + self.denominator) // (2 * self.denominator))


def _blocks(size: int, block: int) -> int:
    return -(-size // block)


def number_bits(blocks: int) -> int:
    """Bits of one block's number in a row of `blocks`."""
    return (blocks - 1).bit_length()


def _walk(mask: Mask, levels: Sequence[Level], choose: Callable[[Mask, int, int, Level], NDArray[np.int64]]) -> None:
    """Visit kept blocks coarse to fine, row of blocks by row of blocks; `choose` says which are kept in one."""
    level, columns = levels[0], _blocks(mask.shape[1], levels[0].block)
    for top in range(0, mask.shape[0], level.block):
        row = mask[top : top + level.block]
        for number in choose(row, columns, level.kept(columns), level):
            block = row[:, number * level.block : (number + 1) * level.block]
            if len(levels) > 1:
                _walk(block, levels[1:], choose)
            else:
                block[:] = True


def encode_index(mask: Mask, levels: Sequence[Level]) -> NDArray[np.uint8]:
    """Bits of the index of `mask` [rows, columns]: that of `runs` where there are no levels.

    UserError where the mask is not one of these levels.
    """
    if not levels:
        return encode_runs(mask)
    parts: list[NDArray[np.uint8]] = []

    def choose(row: Mask, columns: int, kept: int, level: Level) -> NDArray[np.int64]:
        starts = np.arange(0, row.shape[1], level.block)
        present = np.flatnonzero(np.logical_or.reduceat(row.any(0), starts))
        if len(present) != kept:
            raise UserError(f"mask: a row of {columns} blocks keeps {len(present)}, not {kept}")
        parts.append(pack_bits(present, number_bits(columns)))
        return present

    copy = mask.copy()
    _walk(copy, levels, choose)
    if not np.array_equal(copy, mask):
        raise UserError("mask: not a hierarchical block mask of these levels")
    return np.concatenate(parts)


def decode_index(reader: BitReader, shape: tuple[int, int], levels: Sequence[Level]) -> Mask:
    """The mask bool [rows, columns]; UserError when numbers do not ascend or lie outside."""

    def choose(row: Mask, columns: int, kept: int, level: Level) -> NDArray[np.int64]:
        numbers = reader.take(kept, number_bits(columns))
        if numbers[-1] >= columns or (np.diff(numbers) <= 0).any():
            raise UserError(f"index: {numbers.tolist()} are not ascending block numbers below {columns}")
        return numbers

    mask = np.zeros(shape, np.bool_)
    _walk(mask, levels, choose)
    return mask
