"""Hierarchies of blocks, set in a mask: a boolean matrix, True where a weight is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
from torch import Tensor

Block = tuple[int, int]
"""Height and width."""
Choose = Callable[[int, int, "Tensor | None"], list[int]]
"""(number of blocks, how many to keep, their scores [blocks]) -> numbers of those kept."""


def kept_of(count: int, keep: Fraction) -> int:
    """How many of `count` blocks are kept: `keep * count` rounded half up, at least one."""
    return max(1, math.floor(keep * count + Fraction(1, 2)))


def _ceil_div(size: int, block: int) -> int:
    return -(-size // block)


def drawn(generator: torch.Generator | None) -> Choose:
    """Choose blocks at random without replacement."""
    return lambda count, kept, _: torch.randperm(count, generator=generator)[:kept].tolist()


def largest(count: int, kept: int, scores: Tensor | None) -> list[int]:
    """Choose the blocks with the largest scores, the first ones among equals."""
    assert scores is not None
    return torch.sort(scores, descending=True, stable=True).indices[:kept].tolist()


def fill_hierarchy(
    mask: Tensor, score: Tensor | None, blocks: Sequence[Block], keep: Sequence[Fraction], choose: Choose
) -> None:
    """Set what a hierarchy of blocks keeps in `mask`, bool [out, in], False before.

    `choose` says which of the blocks of a row are kept, from the mean of `score` [out, in] over each.
    """
    (height, width), columns = blocks[0], _ceil_div(mask.shape[1], blocks[0][1])
    kept = kept_of(columns, keep[0])
    for top in range(0, mask.shape[0], height):
        part = None if score is None else score[top : top + height]
        means = None if part is None else torch.stack([block.mean() for block in part.split(width, dim=1)])
        for column in choose(columns, kept, means):
            across = slice(column * width, (column + 1) * width)
            inner = mask[top : top + height, across]
            if len(blocks) == 1:
                inner.fill_(True)
            else:
                inside = None if part is None else part[:, across]
                fill_hierarchy(inner, inside, blocks[1:], keep[1:], choose)
