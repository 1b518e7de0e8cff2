"""The index of a mask: of a hierarchy, per row of blocks the numbers of the kept ones, then the same inside each.

Hierarchical coarse-grain sparsity, Kadetotad et al., JSSC 2020. A row of n blocks keeps `round(keep * n)` of them (half
up, at least one), so counts need no bits; a number takes ceil(log2 n) bits. Any other mask has the index of `runs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, blaming
from frenchpress.common.bits import BitReader, pack_bits, width_of
from frenchpress.common.hierarchy import Block, Mask, fill_blocks, rows_of_blocks
from frenchpress.packed.runs import encode_runs


@dataclass(frozen=True)
class Level:
    """One level: blocks of `block` x `block`, of which each row of blocks keeps `numerator` / `denominator`."""

    block: int
    numerator: int
    denominator: int

    def kept(self, blocks: int) -> int:
        """How many of a row of `blocks` blocks are kept."""
        return max(1, (2 * self.numerator * blocks + self.denominator) // (2 * self.denominator))


def _sides(levels: Sequence[Level]) -> list[Block]:
    return [(level.block, level.block) for level in levels]


def encode_index(mask: Mask, levels: Sequence[Level]) -> NDArray[np.uint8]:
    """Bits of the index of `mask` [rows, columns]: that of `runs` where there are no levels.

    UserError where the mask is not one of these levels.
    """
    if not levels:
        return encode_runs(mask)
    parts: list[NDArray[np.uint8]] = []
    with blaming("mask: not a hierarchical block mask of these levels"):
        for number, columns, present in rows_of_blocks(mask, _sides(levels)):
            kept = levels[number].kept(columns)
            if len(present) != kept:
                raise UserError(f"a row of {columns} blocks keeps {len(present)}, not {kept}")
            parts.append(pack_bits(present, width_of(columns)))
    return np.concatenate(parts)


def decode_index(reader: BitReader, shape: tuple[int, int], levels: Sequence[Level]) -> Mask:
    """The mask bool [rows, columns]; UserError when numbers do not ascend or lie outside."""
    mask = np.zeros(shape, np.bool_)
    fill_blocks(mask, _sides(levels), lambda number, columns: levels[number].kept(columns), reader)
    return mask
