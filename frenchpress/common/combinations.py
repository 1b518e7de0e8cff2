"""Masks that keep the same number of weights in every block, each block written as the number of its combination.

The places c_1 < c_2 < ... < c_k that a block keeps are C(c_1, 1) + C(c_2, 2) + ... + C(c_k, k), a number below
C(size, k) (the combinatorial number system; D. E. Knuth, The Art of Computer Programming 4A, 7.2.1.3). Where more than
half is kept, the number is that of the removed places. A file's reader and a code's share this arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from frenchpress.common.errors import UserError

Mask = NDArray[np.bool_]
Bits = NDArray[np.uint8]

WIDEST = 62
"""Most bits of a number."""
LARGEST = 1 << 16
"""Most weights of a block."""


def number_bits(size: int, kept: int) -> int:
    """Bits of the number of a block: ceil(log2 C(size, kept)); UserError above `WIDEST`, or where they do not fit."""
    fewer = min(kept, size - kept)
    if size > LARGEST or fewer < 0:
        raise UserError(f"a block of {size} weights that keeps {kept} has no number; at most {LARGEST} weights")
    # C(size, fewer) is at least 2^fewer, so that large ones need not be computed.
    bits = (math.comb(size, fewer) - 1).bit_length() if fewer <= WIDEST else fewer
    if bits > WIDEST:
        raise UserError(f"a block of {size} weights that keeps {kept} takes more than {WIDEST} bits")
    return bits


@lru_cache(maxsize=64)
def _choices(size: int, kept: int) -> NDArray[np.int64]:
    """C(place, count) for count 0 to `kept` and place 0 to `size`: int64 [kept + 1, size + 1]."""
    table = np.zeros((kept + 1, size + 1), np.int64)
    table[0] = 1
    for count in range(1, kept + 1):
        np.cumsum(table[count - 1, :-1], out=table[count, 1:])
    return table


def ranks(blocks: Mask, kept: int) -> NDArray[np.int64]:
    """The number of each block of bool [n, size], all of which keep `kept`: int64 [n]."""
    size = blocks.shape[1]
    if 2 * kept > size:
        return ranks(~blocks, size - kept)
    order = np.cumsum(blocks, axis=1)
    return (blocks * _choices(size, kept)[order, np.arange(size)]).sum(1)


def unranks(numbers: NDArray[np.int64], size: int, kept: int) -> Mask:
    """Inverse of `ranks`: bool [n, size]; UserError on a number that no block has."""
    if 2 * kept > size:
        return ~unranks(numbers, size, size - kept)
    table = _choices(size, kept)
    if numbers.size and int(numbers.max()) >= table[kept, size]:
        raise UserError(f"index: number {numbers.max()} of {table[kept, size]} ways to keep {kept} of {size}")
    blocks, rest, left = np.zeros((size, len(numbers)), np.bool_), numbers.copy(), np.full(len(numbers), kept)
    for place in reversed(range(size if kept else 0)):
        below = table[left, place]
        # With none left to keep the rest is 0, and C(place, 0) is 1.
        blocks[place] = rest >= below
        rest -= blocks[place] * below
        left -= blocks[place]
    return blocks.T


@dataclass(frozen=True)
class Counted:
    """A matrix cut into blocks of `height` x `width`; those at the edge are smaller.

    `counts`: weights kept in each whole block, each at the right edge, each at the bottom edge, the one in the corner;
    0 where the matrix has no such block.
    """

    height: int
    width: int
    counts: tuple[int, int, int, int]

    @classmethod
    def of(cls, mask: Mask, block: tuple[int, int]) -> Counted:
        """What `mask` keeps in each block; UserError where blocks of one size differ, or a number is too long."""
        height, width = min(block[0], mask.shape[0]), min(block[1], mask.shape[1])
        counts = [0, 0, 0, 0]
        if mask.size:
            for number, blocks in _kinds(mask, height, width):
                kept = blocks.sum(1)
                if kept.min() != kept.max():
                    raise UserError(f"mask: blocks of {height} x {width} keep from {kept.min()} to {kept.max()}")
                counts[number] = int(kept[0])
                number_bits(blocks.shape[1], counts[number])
        return cls(height, width, (counts[0], counts[1], counts[2], counts[3]))

    def check(self, shape: tuple[int, int]) -> None:
        """UserError where blocks, or what they keep, do not fit a matrix of `shape`."""
        if not (0 < self.height <= shape[0] and 0 < self.width <= shape[1]):
            raise UserError(f"blocks of {self.height} x {self.width} in a matrix of {shape[0]} x {shape[1]}")
        sizes = dict(self._sizes(shape))
        for number, count in enumerate(self.counts):
            number_bits(sizes.get(number, 0), count)

    def _sizes(self, shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
        """Kind and size of the blocks that a matrix of `shape` has."""
        for down, (_, height) in enumerate(_lines(shape[0], self.height)):
            for across, (_, width) in enumerate(_lines(shape[1], self.width)):
                if height and width:
                    yield 2 * down + across, height * width

    def write(self, mask: Mask, highest_first: bool) -> Bits:
        """Bits of the numbers of all blocks, row of blocks by row of blocks, from left to right: uint8 zeros and ones.

        `highest_first`: each number begins with its highest bit, otherwise with its lowest.
        """
        numbers: dict[int, Bits] = {}
        for kind, blocks in _kinds(mask, self.height, self.width):
            width = number_bits(blocks.shape[1], self.counts[kind])
            numbers[kind] = _to_bits(ranks(blocks, self.counts[kind]), width, highest_first)
        parts = [np.zeros(0, np.uint8)]
        for down, (rows, _) in enumerate(_lines(mask.shape[0], self.height)):
            row = [numbers[kind].reshape(rows, -1) for kind in (2 * down, 2 * down + 1) if kind in numbers]
            parts += [np.concatenate(row, axis=1).reshape(-1)] if row else []
        return np.concatenate(parts)

    def read(self, shape: tuple[int, int], take: Callable[[int], NDArray], highest_first: bool) -> Mask:
        """The mask bool [rows, columns] of the bits that `write` gave; `take(n)` gives the next n of them.

        UserError on a number that no block has; `check` comes first.
        """
        mask, columns, top = np.zeros(shape, np.bool_), _lines(shape[1], self.width), 0
        for down, (rows, height) in enumerate(_lines(shape[0], self.height)):
            kinds = [(2 * down + k, n, width) for k, (n, width) in enumerate(columns) if rows * n * height * width]
            bits = [n * number_bits(height * width, self.counts[kind]) for kind, n, width in kinds]
            row, at, left = take(rows * sum(bits)).reshape(rows, sum(bits)), 0, 0
            for (kind, n, width), size in zip(kinds, bits):
                numbers = _from_bits(row[:, at : at + size].reshape(rows * n, -1), highest_first)
                blocks = unranks(numbers, height * width, self.counts[kind]).reshape(rows, n, height, width)
                piece = blocks.transpose(0, 2, 1, 3).reshape(rows * height, n * width)
                mask[top : top + rows * height, left : left + n * width] = piece
                at, left = at + size, left + n * width
            top += rows * height
        return mask


def _lines(size: int, block: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """How many whole blocks there are along a side, and of what size; the same of the one at the edge."""
    rest = size % block if block else 0
    return (size // block if block else 0, block), (int(rest > 0), rest)


def _kinds(mask: Mask, height: int, width: int) -> Iterator[tuple[int, Mask]]:
    """Number of a kind of blocks as in `Counted.counts`, and all of that kind, row by row: bool [n, size]."""
    top = 0
    for down, (rows, high) in enumerate(_lines(mask.shape[0], height)):
        left = 0
        for across, (columns, wide) in enumerate(_lines(mask.shape[1], width)):
            piece = mask[top : top + rows * high, left : left + columns * wide]
            if piece.size:
                blocks = piece.reshape(rows, high, columns, wide).transpose(0, 2, 1, 3)
                yield 2 * down + across, blocks.reshape(rows * columns, high * wide)
            left += columns * wide
        top += rows * high


def _to_bits(numbers: NDArray[np.int64], width: int, highest_first: bool) -> Bits:
    """uint8 [n, width]."""
    places = np.arange(width, dtype=np.int64)
    return ((numbers[:, None] >> (places[::-1] if highest_first else places)) & 1).astype(np.uint8)


def _from_bits(bits: NDArray, highest_first: bool) -> NDArray[np.int64]:
    """Numbers int64 [n] of their bits [n, width]."""
    places = np.arange(bits.shape[1], dtype=np.int64)
    return bits.astype(np.int64) @ (np.int64(1) << (places[::-1] if highest_first else places))
