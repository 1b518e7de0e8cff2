"""Masks: boolean matrices, True where a weight is kept, made by `(shape, options, generator) -> mask`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from frenchpress.common import UserError
from frenchpress.compress.options import HcgsOptions

Block = tuple[int, int]
"""Height and width."""
Choose = Callable[[int, int, "Tensor | None"], list[int]]
"""(number of blocks, how many to keep, their scores [blocks]) -> numbers of those kept."""


def kept_of(count: int, keep: Fraction) -> int:
    """How many of `count` blocks are kept: `keep * count` rounded half up, at least one."""
    return max(1, math.floor(keep * count + Fraction(1, 2)))


def _ceil_div(size: int, block: int) -> int:
    return -(-size // block)


def _check(shape: tuple[int, int], options: HcgsOptions) -> None:
    rows, columns = shape
    if options.blocks[0] > columns:
        raise UserError(
            f"hcgs.blocks: a block of {options.blocks[0]} is larger than the matrix of {rows} x {columns}; "
            f"use at most {columns}"
        )


def hcgs_mask(
    shape: tuple[int, int],
    blocks: Sequence[int],
    keep: Sequence[Fraction | float | str],
    generator: torch.Generator | None = None,
) -> Tensor:
    """Random hierarchical coarse-grain sparsity: bool [out, in] (Kadetotad et al., JSSC 2020, sec. II).

    The matrix is cut into square blocks of `blocks[0]`, smaller at the edge. Each row of blocks keeps the
    same number of them, chosen at random without replacement; a kept block is cut by `blocks[1]` and treated
    alike, and so on. `generator`: a CPU generator, the same seed gives the same mask. UserError on options
    that are impossible for this shape.
    """
    options = HcgsOptions(tuple(blocks), tuple(keep))  # type: ignore[arg-type]
    _check(shape, options)
    mask = torch.zeros(shape, dtype=torch.bool)
    fill_hierarchy(mask, None, [(side, side) for side in options.blocks], options.keep, drawn(generator))
    return mask


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


def gate_mask(
    shape: tuple[int, int], options: HcgsOptions, gates: int = 1, generator: torch.Generator | None = None
) -> Tensor:
    """Mask of `gates` matrices stacked by rows: bool [out / gates, in] if they share it, else [out, in].

    `shape`: (out, in) of the stack.
    """
    one = (shape[0] // gates, shape[1])
    count = 1 if options.share_gates else gates
    return torch.cat([hcgs_mask(one, options.blocks, options.keep, generator) for _ in range(count)])
