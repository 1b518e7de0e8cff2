"""Hierarchies of blocks: random (HCGS, CGS), guided by magnitude, and dropped and regrown while training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import torch
from torch import Tensor

from frenchpress.common import UserError, unknown
from frenchpress.common.typed import parse_fraction
from frenchpress.compress.codes import Origin
from frenchpress.compress.masks import Block, Choose, drawn, fill_hierarchy, kept_of, largest
from frenchpress.compress.sparsity.base import BlockMethod, MaskMethod, block_means, check_block, read_block, spread

_GROW = ("gradient", "random")


@dataclass(frozen=True, kw_only=True)
class HierarchyMask(MaskMethod):
    """Coarse-grain sparsity of one level (CGS) or more (HCGS), at random (Kadetotad et al., JSSC 2020, sec. II).

    The matrix is cut into blocks of the first size, smaller at the edge. Each row of blocks keeps the same number of
    them, chosen without replacement; a kept block is cut by the second size and treated alike, and so on.

    `blocks`: of each level a side or [height, width], coarse first; `keep`: of each level the fraction of the blocks of
    a row of blocks that is kept.
    """

    blocks: list | tuple = (32, 2)
    keep: list | tuple = (Fraction(4, 16), Fraction(4, 16))

    def __post_init__(self) -> None:
        if not self.blocks or len(self.blocks) != len(self.keep):
            raise UserError(
                f"blocks: {len(self.blocks)} block sizes, {len(self.keep)} keep fractions; one each per level, "
                "blocks: [32, 2], keep: [4/16, 4/16]"
            )
        sizes = [read_block(block, "blocks") for block in self.blocks]
        for outer, inner in zip(sizes, sizes[1:]):
            if inner[0] > outer[0] or inner[1] > outer[1]:
                raise UserError(f"blocks: {_said(inner)} lies inside {_said(outer)} and must not be larger than it")
        object.__setattr__(self, "blocks", tuple(_said(size) for size in sizes))
        object.__setattr__(self, "keep", tuple(parse_fraction(k) for k in self.keep))

    @property
    def sizes(self) -> tuple[Block, ...]:
        """Height and width of the blocks of each level."""
        return tuple(read_block(block, "blocks") for block in self.blocks)

    @property
    def by_weight(self) -> bool:
        """Not: it is drawn."""
        return False

    @property
    def asked_density(self) -> float:
        """The product of the kept fractions."""
        return float(math.prod(self.keep))

    @property
    def hierarchy(self) -> tuple[tuple[int, Fraction], ...]:
        """`(side, keep)` of each level where all blocks are square."""
        square = all(isinstance(block, int) for block in self.blocks)
        return tuple(zip(self.blocks, self.keep)) if square else ()

    @property
    def side(self) -> int | None:
        """Of the coarse blocks."""
        return _square(self.sizes[0])

    @property
    def origin(self) -> Origin:
        """The blocks; the finest ones are kept or not."""
        return Origin(self.sizes, self.sizes[-1])

    def group(self, shape: tuple[int, int]) -> Block:
        """The finest blocks: they are what is kept whole."""
        return self.sizes[-1]

    def check(self, shape: tuple[int, int]) -> None:
        """A row must hold a coarse block; the last row of blocks, which may be the only one, may be lower than that."""
        if self.sizes[0][1] > shape[1]:
            check_block(self.sizes[0], shape, "blocks")

    def make(
        self, shape: tuple[int, int], generator: torch.Generator | None = None, score: Tensor | None = None
    ) -> Tensor:
        """Every row of blocks of every level keeps the same number."""
        self.check(shape)
        mask = torch.zeros(shape, dtype=torch.bool)
        fill_hierarchy(mask, score, self.sizes, self.keep, self._choose(generator))
        return mask

    def _choose(self, generator: torch.Generator | None) -> Choose:
        return drawn(generator)


@dataclass(frozen=True, kw_only=True)
class GuidedMask(HierarchyMask):
    """The same structure, keeping at each level the blocks with the largest mean magnitude.

    On the way to its density each level keeps keep^e with one e for all, so that their product is as asked for.
    """

    gradual: ClassVar[bool] = True

    @property
    def by_weight(self) -> bool:
        """It is chosen by magnitude."""
        return True

    def at(self, density: float) -> GuidedMask:
        """With the fractions of each level brought up to `density`."""
        whole = math.log(self.asked_density)
        exponent = 0.0 if whole == 0 else math.log(density) / whole
        return replace(self, keep=[min(Fraction(1), Fraction(float(k) ** exponent)) for k in self.keep])

    def _choose(self, generator: torch.Generator | None) -> Choose:
        return largest


@dataclass(frozen=True, kw_only=True)
class DynamicMask(BlockMethod):
    """Blocks that change while training at constant density (after RigL, Evci et al. 2020, sec. 3, and SET).

    Starts as one-level CGS: each row of blocks keeps `keep` of them. At each update every row drops the fraction `drop`
    (falling along half a cosine to 0) of its kept blocks, those with the smallest mean magnitude, and grows as many of
    the others: those with the largest mean gradient (`grow: gradient`), or at random (`random`; Mocanu et al. 2018).
    New weights start at zero. A block that was just dropped does not come back at once. Where the columns do not
    divide, the narrower blocks of the last column stay as drawn, since moving them would change the density.
    """

    keep: Fraction | float | str
    drop: float = 0.3
    grow: str = "gradient"
    regrows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "block", read_block(self.block, "block"))
        object.__setattr__(self, "keep", parse_fraction(self.keep))
        if not 0 < self.drop < 1:
            raise UserError(f"drop: {self.drop} is out of range; it must be above 0 and below 1")
        if self.grow not in _GROW:
            raise UserError(f"grow: {unknown(self.grow, _GROW)}")

    @property
    def by_weight(self) -> bool:
        """It starts at random."""
        return False

    @property
    def asked_density(self) -> float:
        """The kept fraction."""
        return float(self.keep)

    @property
    def hierarchy(self) -> tuple[tuple[int, Fraction], ...]:
        """One level, where the blocks are square."""
        return ((self.block[0], self.keep),) if self.side else ()

    @property
    def side(self) -> int | None:
        """Of the blocks."""
        return _square(self.block)

    @property
    def origin(self) -> Origin:
        """One level of blocks."""
        return Origin((self.block,), self.block)

    def check(self, shape: tuple[int, int]) -> None:
        """The block must fit in, and of what a row keeps at least one block must move at first."""
        super().check(shape)
        across, whole = -(-shape[1] // self.block[1]), shape[1] // self.block[1]
        kept = kept_of(across, self.keep)
        # A block at the edge, where columns do not divide, stays as drawn: a row has `ours` others, or one less.
        movable = max(min(ours, whole - ours) for ours in (kept, kept - (across - whole)))
        if not min(movable, self._moved(1.0, kept, across)):
            raise UserError(
                f"drop: {self.drop:g} of the {kept} in {across} blocks that a row keeps moves none; "
                "use smaller blocks, or a larger drop"
            )

    def make(
        self, shape: tuple[int, int], generator: torch.Generator | None = None, score: Tensor | None = None
    ) -> Tensor:
        """The mask to start from."""
        self.check(shape)
        return HierarchyMask(blocks=[self.block], keep=[self.keep]).make(shape, generator)

    def step(
        self, mask: Tensor, score: Tensor, growth: Tensor, share: float, generator: torch.Generator | None
    ) -> Tensor:
        """The next mask: bool [out, in]. `score`, `growth`: magnitudes of weights and of gradients, float [out, in].

        `share` of `drop` is dropped; `generator` draws for `grow: random`.
        """
        kept = cut_present(mask, self.block)
        whole = torch.ones_like(kept)
        whole[:, mask.shape[1] // self.block[1] :] = False
        ours, free = kept & whole, ~kept & whole
        moved = self._moved(share, int(kept[0].sum()), kept.shape[1])
        # Of each row as many as it can, so that all keep their density.
        moves = torch.arange(kept.shape[1]) < torch.minimum(ours.sum(1), free.sum(1)).clamp_(max=moved).unsqueeze(1)
        if not moves.any():
            return mask
        weak = block_means(score, self.block).masked_fill(~ours, math.inf)
        drop = torch.sort(weak, dim=1, stable=True).indices
        if self.grow == "random":
            strong = torch.rand(kept.shape, generator=generator)
        else:
            strong = block_means(growth, self.block)
        grow = torch.sort(strong.masked_fill(~free, -1.0), dim=1, descending=True, stable=True).indices
        dropped, grown = (torch.zeros_like(kept).scatter(1, places, moves) for places in (drop, grow))
        return spread(kept & ~dropped | grown, self.block, tuple(mask.shape))

    def _moved(self, share: float, kept: int, across: int) -> int:
        """How many of the `kept` of `across` blocks of a row move, `share` of `drop` being dropped."""
        return min(math.floor(self.drop * share * kept + 0.5), across - kept)


def cut_present(mask: Tensor, block: Block) -> Tensor:
    """Bool [down, across]: which blocks of a mask have a kept weight."""
    return block_means(mask.float(), block) > 0


def _said(block: Block) -> int | Block:
    """A block as a `.cfg` says it: the side of a square one."""
    return block[0] if block[0] == block[1] else block


def _square(block: Sequence[int]) -> int | None:
    return block[0] if block[0] == block[1] else None
