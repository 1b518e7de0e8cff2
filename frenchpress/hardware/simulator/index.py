"""The decoder of the index of blocks in blocks: bits in, one number of the index at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Tick(NamedTuple):
    """A number was read, which takes a cycle."""


class Kept(NamedTuple):
    """A kept block of the finest level, in one gate's matrix, by mask number `mask`."""

    top: int
    left: int
    height: int
    width: int
    mask: int


def read_blocks(
    bits: Iterator[int], levels: list[dict[str, int]], rows: int, columns: int, mask: int
) -> Iterator[Kept | Tick]:
    """Kept blocks of a mask [rows, columns], each behind the ticks of the numbers that lead to it."""
    yield from _inside(bits, levels, Kept(0, 0, rows, columns, mask))


def _inside(bits: Iterator[int], levels: list[dict[str, int]], block: Kept) -> Iterator[Kept | Tick]:
    if not levels:
        yield block
        return
    side, finest = levels[0]["block"], len(levels) == 1
    count = -(-block.width // side)
    width = (count - 1).bit_length()
    twice = 2 * levels[0]["numerator"] * count + levels[0]["denominator"]
    kept = max(1, twice // (2 * levels[0]["denominator"]))
    for top in range(block.top, block.top + block.height, side):
        found = []
        for _ in range(kept):
            number = sum(next(bits) << k for k in range(width))
            if width:
                yield Tick()
            left = block.left + number * side
            right, bottom = min(left + side, block.left + block.width), min(top + side, block.top + block.height)
            found.append(Kept(top, left, bottom - top, right - left, block.mask))
            if finest:
                yield found.pop()
        for inner in found:
            yield from _inside(bits, levels[1:], inner)
