"""What presses one weight: a mask, then a quantizer. It owns no parameter; the weight is handed to it."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from frenchpress.compress.identity import NamesItsMask
from frenchpress.compress.options import WeightPress
from frenchpress.compress.quantizers import quantizer_of
from frenchpress.compress.sparsity import MaskMethod, MaskPlan, mask_plan_of, prune_plan_of
from frenchpress.compress.structure import AsItIs, BlockStructure, Selection, compact, gate_structure

# Above this share of multiplications the batched product of kept blocks is no faster than the dense one.
_WORTH_BLOCKS = 0.7


class Chain(NamesItsMask):
    """Mask and quantizer of a matrix of `shape` (out, in), as `press` asks for them.

    `gates`: number of matrices stacked by rows (4 for an LSTM), which may share one mask. The mask is a buffer:
    a checkpoint carries it, and what is derived from it follows when it changes. `outline`: how the mask is made;
    `pruning`: how it is thinned further, and `within`, bool [out, in], what that chooses from; `reads`: how the units
    behind its columns are removed, where they are. While `probing`, the numbers are the same, but removed weights have
    a gradient too. `generator` (CPU) draws the mask.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        press: WeightPress,
        gates: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.press, self.gates = shape, press, gates
        self.quantizer = quantizer_of(press)
        self.quantizer.size_for(shape)
        self.outline, self.probing = mask_plan_of(press), False
        self.pruning = prune_plan_of(press, self.outline)
        self.reads: MaskPlan | None = None
        mask = None if self.outline is None else self.outline.first_mask(shape, gates, generator)
        if self.pruning is not None:
            mask = torch.ones(shape, dtype=torch.bool) if mask is None else mask.repeat(shape[0] // mask.shape[0], 1)
        self.register_buffer("mask", mask)
        self.register_buffer("within", None if self.pruning is None else mask.clone())
        self._cache: tuple[object, BlockStructure] | None = None

    @property
    def plan(self) -> MaskPlan | None:
        """How, and when, the mask is chosen; None without a mask."""
        return self.pruning or self.outline

    @property
    def mask_method(self) -> str:
        """The names of what makes the mask; `none` without one."""
        plans = (self.outline, self.pruning, self.reads)
        return ", ".join(plan.name for plan in plans if plan is not None) or "none"

    @property
    def outline_method(self) -> MaskMethod | None:
        """How the mask, or with `pruning` what it lies within, is made."""
        plan = self.outline or self.reads
        return None if plan is None else plan.method

    def full_mask(self) -> Tensor | None:
        """Mask of every weight, bool [out, in]; a shared one is repeated for each gate."""
        if self.mask is None:
            return None
        return self.mask.repeat(self.shape[0] // self.mask.shape[0], 1)

    @property
    def density(self) -> float:
        """Kept weights over all weights, as realised."""
        return 1.0 if self.mask is None else float(self.mask.float().mean())

    @property
    def asked_density(self) -> float:
        """The density that the options name."""
        return asked_density(self.press) * (1.0 if self.reads is None else self.reads.method.asked_density)

    def read_units(self, plan: MaskPlan) -> None:
        """Let columns be removed as `plan` does the units that they read; makes a mask where there is none."""
        self.reads = plan
        if self.mask is None:
            self.mask = torch.ones(self.shape[0] // self.gates, self.shape[1], dtype=torch.bool)

    @property
    def hierarchy(self) -> tuple[tuple[int, Fraction], ...]:
        """`(side, keep)` of each level of a mask of square blocks, coarse first; empty for any other and for none."""
        return () if self.plan is None else self.plan.method.hierarchy

    @property
    def structure(self) -> BlockStructure | None:
        """Kept blocks of the coarse level, or None where the dense product is the faster one, or the right one."""
        side = None if self.outline is None else self.outline.method.side
        if self.mask is None or side is None or self.probing or not self.quantizer.movable:
            return None
        key = AsItIs(self.mask)
        if self._cache is None or self._cache[0] != key:
            found = gate_structure(self.mask, side, self.gates, self.shape[0])
            self._cache = (key, found)
        found = self._cache[1]
        return found if found.computed_fraction <= _WORTH_BLOCKS else None

    def press_matrix(self, weight: Tensor) -> Tensor:
        """What the model multiplies with in place of `weight`; both [out, in]."""
        mask = self.full_mask()
        if mask is None:
            return self.quantizer(weight)
        seen = self.quantizer(weight * mask) * mask
        return seen + (weight - weight.detach()) * ~mask if self.probing else seen

    def press_selection(self, weight: Tensor, structure: Selection) -> Tensor:
        """The same numbers, in the compact form of `structure`, whose rows are rows of the matrix."""
        return self.quantizer(compact(weight, structure)) * structure.mask

    def to_integers(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """`(int64 [out, in], scale)`, zero where the mask removes; their product is `press_matrix` to the bit."""
        mask = self.full_mask()
        if mask is None:
            return self.quantizer.integers(weight)
        integers, scale = self.quantizer.integers(weight * mask)
        return integers * mask, scale

    def to_written(self, weight: Tensor) -> Tensor:
        """What a value code writes, int64 [out, in], zero where the mask removes."""
        mask = self.full_mask()
        if mask is None:
            return self.quantizer.encode(weight).written
        return self.quantizer.encode(weight * mask).written * mask


def asked_density(press: WeightPress) -> float:
    """Kept over all weights of a matrix, as `press` says it."""
    outline = mask_plan_of(press)
    plans = (outline, prune_plan_of(press, outline))
    return math.prod(plan.method.asked_density for plan in plans if plan is not None)
