"""What every mask method is, and the arithmetic of blocks that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from frenchpress.common import UserError
from frenchpress.compress.codes import Origin
from frenchpress.compress.masks import Block

OUTSIDE = -1.0
"""Score of a weight that cannot be kept."""


@dataclass(frozen=True, kw_only=True)
class MaskMethod:
    """Base of the mask methods; fields are what a `.cfg` can say in `mask:` beside the method's name and timing.

    `share_gates`: the four gates of an LSTM layer have the same kept places. `by_weight`: chosen from the weights as
    they are at some time, so that the time has to be said. `gradual`: can be chosen at any density on the way.
    `regrows`: starts as a random mask and changes it at constant density. `linked`: chosen over several matrices at
    once, by whoever knows which (`MaskSchedule`'s `units`). `hierarchy`: block sides and kept fractions
    of each level where the mask has the form of HCGS with square blocks. `side`: of square blocks outside of which
    nothing is kept.
    """

    share_gates: bool = True
    gradual: ClassVar[bool] = False
    regrows: ClassVar[bool] = False
    linked: ClassVar[bool] = False

    @property
    def by_weight(self) -> bool:
        """Whether `make` needs a score."""
        return True

    @property
    def asked_density(self) -> float:
        """Kept over all weights as the options say it; sizes that do not divide make it another."""
        raise NotImplementedError

    @property
    def hierarchy(self) -> tuple[tuple[int, Fraction], ...]:
        """`(side, keep)` of each level, coarse first; empty for another kind of mask."""
        return ()

    @property
    def side(self) -> int | None:
        """Side of the square blocks that the mask keeps whole or in part; None without."""
        return None

    @property
    def origin(self) -> Origin:
        """What index codes may know of a mask that this method made."""
        return Origin()

    def group(self, shape: tuple[int, int]) -> Block:
        """Height and width of what is kept or removed together in a matrix of `shape`; a lasso drives it to zero."""
        return (1, 1)

    def at(self, density: float) -> MaskMethod:
        """The same method at another density (gradual ones)."""
        raise NotImplementedError

    def check(self, shape: tuple[int, int]) -> None:
        """UserError where the options do not fit a matrix of `shape`."""

    def make(
        self, shape: tuple[int, int], generator: torch.Generator | None = None, score: Tensor | None = None
    ) -> Tensor:
        """Mask bool [out, in]. `score`: float [out, in], at least 0, large where a weight matters.

        UserError where the options do not fit the shape. The same generator state and score give the same mask.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class BlockMethod(MaskMethod):
    """Base of the methods with blocks of one size. `block`: a side, or [height, width]."""

    block: int | list | tuple

    def check(self, shape: tuple[int, int]) -> None:
        """The block must fit in."""
        check_block(self.block, shape, "block")


def read_block(value: object, what: str) -> Block:
    """Height and width of `32` or `[32, 16]`; UserError unless they are whole numbers from 1 up."""
    pair = [value, value] if isinstance(value, int) and not isinstance(value, bool) else value
    whole = isinstance(pair, Sequence) and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in pair)
    if not whole or isinstance(pair, str) or len(pair) != 2:
        raise UserError(f"{what}: {value!r} is no block; write a side, 32, or height and width, [32, 16]")
    return pair[0], pair[1]


def check_block(block: Block, shape: tuple[int, int], what: str) -> None:
    """UserError where a block is larger than the matrix."""
    if block[0] > shape[0] or block[1] > shape[1]:
        raise UserError(f"{what}: {block[0]} x {block[1]} is larger than the matrix of {shape[0]} x {shape[1]}")


def keep_largest(score: Tensor, kept: int) -> Tensor:
    """Bool of `score`'s shape [..., n], the `kept` largest of each last dimension True; the first among equals."""
    order = torch.sort(score, dim=-1, descending=True, stable=True).indices[..., :kept]
    return torch.zeros(score.shape, dtype=torch.bool, device=score.device).scatter_(-1, order, True)


def cut(matrix: Tensor, block: Block, fill: float = 0.0) -> Tensor:
    """Blocks [down, across, h * w] of a matrix [out, in]; what lies outside of it has the value `fill`."""
    (height, width), (rows, columns) = block, matrix.shape
    matrix = F.pad(matrix, (0, -columns % width, 0, -rows % height), value=fill)
    blocks = matrix.view(matrix.shape[0] // height, height, -1, width).transpose(1, 2)
    return blocks.reshape(blocks.shape[0], blocks.shape[1], -1)


def join(blocks: Tensor, block: Block, shape: tuple[int, int]) -> Tensor:
    """Inverse of `cut` for a matrix of `shape`."""
    down, across, _ = blocks.shape
    whole = blocks.view(down, across, *block).transpose(1, 2).reshape(down * block[0], across * block[1])
    return whole[: shape[0], : shape[1]].contiguous()


def block_means(score: Tensor, block: Block) -> Tensor:
    """Mean of `score` [out, in] over each block [down, across], blocks at the edge over what they have."""
    return cut(score, block).sum(-1) / cut(torch.ones_like(score), block).sum(-1)


def spread(kept: Tensor, block: Block, shape: tuple[int, int]) -> Tensor:
    """Mask of `shape` from one bool per block [down, across]."""
    return kept.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)[: shape[0], : shape[1]].contiguous()
