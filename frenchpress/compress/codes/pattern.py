"""Blocks as numbers of a dictionary of patterns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, BitWriter, width_of
from frenchpress.compress.codes.index import IndexCode, Mask, Origin

_SIDE_BITS, _COUNT_BITS = 6, 16
_SIDES = (2, 4, 8, 16, 32)
_MOST = (1 << _COUNT_BITS) - 1
_LARGEST_DICTIONARY = 4096


@dataclass(frozen=True, eq=False)
class Pattern(IndexCode):
    """Each h x w block is a number in a dictionary of `patterns`, bool [n, h, w].

    None: the n most frequent patterns of square blocks, n and the side (2 to 32) those that need the fewest bits.
    n h w bits of dictionary; per block ceil(log2 n) bits, or ceil(log2(n + 1)) where some blocks match none: these
    have the last number, and their h w bits follow. What is left over at the right and at the bottom where sizes do
    not divide follows as a bitmap.
    """

    name = "pattern"
    patterns: Mask | None = None

    def __post_init__(self) -> None:
        if self.patterns is None:
            return
        if self.patterns.ndim != 3 or self.patterns.dtype != np.bool_ or len(self.patterns) > _MOST:
            raise UserError(f"index code pattern: patterns must be bool [n, h, w], n at most {_MOST}")
        if not all(1 <= side <= 1 << _SIDE_BITS for side in self.patterns.shape[1:]):
            raise UserError(f"index code pattern: a pattern must be 1 to {1 << _SIDE_BITS} high and wide")
        if len(np.unique(self.patterns, axis=0)) < len(self.patterns):
            raise UserError("index code pattern: a pattern is there twice")

    @property
    def options(self) -> str:
        """Number and size of the patterns."""
        return "" if self.patterns is None else "{} of {} x {}".format(*self.patterns.shape)

    @classmethod
    def candidates(cls, mask: Mask, origin: Origin) -> Sequence[IndexCode]:
        """The dictionary found, and all pieces of the size that the origin names."""
        own = None if origin.piece is None else _pieces(mask, *origin.piece)
        return [cls().fit(mask), *([] if own is None else [cls(own)])]

    def fit(self, mask: Mask) -> Pattern:
        """The dictionary found, or the one given."""
        if self.patterns is not None:
            return self
        found = [_most_frequent(mask, side) for side in _SIDES]
        return Pattern(min(found, key=lambda pair: pair[0])[1])

    def write(self, mask: Mask, out: BitWriter) -> None:
        """Append pattern sides, dictionary, numbers, blocks that match none, left-overs."""
        patterns = self.fit(mask).patterns
        assert patterns is not None
        count, height, width = patterns.shape
        blocks, rest = cut_blocks(mask, height, width)
        numbers = _look_up(blocks, patterns)
        unmatched = numbers == count
        out.put([height - 1, width - 1], _SIDE_BITS)
        out.put(count, _COUNT_BITS)
        out.put(bool(unmatched.any()), 1)
        out.put_bits(patterns)
        out.put(numbers, width_of(count + bool(unmatched.any())))
        out.put_bits(blocks[unmatched])
        out.put_bits(rest)

    @classmethod
    def read(cls, rows: int, columns: int, source: BitReader) -> Mask:
        """Pattern sides, dictionary, numbers, blocks that match none, left-overs."""
        height, width = (int(side) + 1 for side in source.take(2, _SIDE_BITS))
        count, escape = source.take_one(_COUNT_BITS), source.take_one(1)
        size, down, across = height * width, rows // height, columns // width
        patterns = source.take_bits(count * size).reshape(count, size)
        if down * across and not count + escape:
            raise UserError("encoded matrix: damaged (blocks but no patterns)")
        numbers = source.take(down * across, width_of(count + escape))
        if numbers.size and int(numbers.max()) >= count + escape:
            raise UserError(f"encoded matrix: damaged (pattern {int(numbers.max())} of {count})")
        unmatched = numbers == count
        blocks = np.empty((down * across, size), np.uint8)
        blocks[~unmatched] = patterns[numbers[~unmatched]]
        blocks[unmatched] = source.take_bits(int(unmatched.sum()) * size).reshape(-1, size)
        rest = source.take_bits(rows * columns - down * across * size)
        return _join(blocks.reshape(down, across, height, width), rest, rows, columns)


def cut_blocks(mask: Mask, height: int, width: int) -> tuple[Mask, Mask]:
    """Whole blocks [blocks, h, w], and the rest: right strip, then bottom strip, flat."""
    down, across = mask.shape[0] // height, mask.shape[1] // width
    whole = mask[: down * height, : across * width].reshape(down, height, across, width)
    right, bottom = mask[: down * height, across * width :], mask[down * height :]
    blocks = whole.transpose(0, 2, 1, 3).reshape(down * across, height, width)
    return blocks, np.concatenate([right.reshape(-1), bottom.reshape(-1)])


def _join(blocks: NDArray[np.uint8], rest: NDArray[np.uint8], rows: int, columns: int) -> Mask:
    """Inverse of `cut_blocks`; `blocks` [down, across, h, w]."""
    down, across, height, width = blocks.shape
    mask = np.empty((rows, columns), np.bool_)
    mask[: down * height, : across * width] = blocks.transpose(0, 2, 1, 3).reshape(down * height, across * width)
    right = down * height * (columns - across * width)
    mask[: down * height, across * width :] = rest[:right].reshape(down * height, -1) if right else False
    mask[down * height :] = rest[right:].reshape(rows - down * height, columns)
    return mask


def nearest(mask: Mask, patterns: Mask) -> Mask:
    """A mask of `patterns`, bool [n, h, w], n at least 1: of each block the one that has most of what `mask` keeps.

    Where no whole block is it is `mask`.
    """
    _, height, width = patterns.shape
    blocks, rest = cut_blocks(mask, height, width)
    flat = patterns.reshape(len(patterns), -1)
    held = blocks.reshape(len(blocks), height * width).astype(np.float32) @ flat.T.astype(np.float32)
    best = patterns[held.argmax(1)].reshape(mask.shape[0] // height, mask.shape[1] // width, height, width)
    return _join(best.astype(np.uint8), rest.astype(np.uint8), *mask.shape)


def _pieces(mask: Mask, height: int, width: int) -> Mask | None:
    """The different whole blocks of a mask [n, height, width]; None where there are too many, or none."""
    if max(height, width) > 1 << _SIDE_BITS:
        return None
    blocks, _ = cut_blocks(mask, height, width)
    found = np.unique(blocks, axis=0) if len(blocks) else blocks
    return found if 0 < len(found) <= _LARGEST_DICTIONARY else None


def _keys(blocks: Mask) -> NDArray[np.void]:
    """One comparable item per block [blocks, h, w]."""
    packed = np.ascontiguousarray(np.packbits(blocks.reshape(len(blocks), blocks.shape[1] * blocks.shape[2]), axis=1))
    return packed.view(np.dtype((np.void, packed.shape[1]))).reshape(-1)


def _look_up(blocks: Mask, patterns: Mask) -> NDArray[np.int64]:
    """Pattern number of each block, n where none matches."""
    numbers = {key.tobytes(): number for number, key in enumerate(_keys(patterns))}
    return np.array([numbers.get(key.tobytes(), len(patterns)) for key in _keys(blocks)], np.int64)


def _most_frequent(mask: Mask, side: int) -> tuple[int, Mask]:
    """Bits needed with the best number of patterns of this side, and those patterns."""
    blocks, rest = cut_blocks(mask, side, side)
    if not len(blocks):
        return rest.size, np.zeros((0, side, side), np.bool_)
    _, first, counts = np.unique(_keys(blocks), return_index=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_MOST]
    covered = np.concatenate([[0], np.cumsum(counts[order])])
    sizes = np.arange(len(covered))
    numbers = np.array([width_of(int(n) + int(c < len(blocks))) for n, c in zip(sizes, covered)])
    costs = (sizes + len(blocks) - covered) * side * side + len(blocks) * numbers + rest.size
    best = int(np.argmin(costs))
    return int(costs[best]), blocks[first[order[:best]]]
