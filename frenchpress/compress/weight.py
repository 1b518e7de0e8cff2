"""A compressed matrix: the dense parameter that trains, seen by the model only through `quantize(mask * w)`."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.compress.activations import act_quantizer_of
from frenchpress.compress.masks import gate_mask
from frenchpress.compress.options import LayerPress
from frenchpress.compress.quantizers import BitQuantizer, quantizer_of
from frenchpress.compress.sparsity import HierarchyMask, MaskMethod, MaskPlan, mask_plan_of, prune_plan_of
from frenchpress.compress.structure import BlockStructure, Selection, compact, gate_structure

# Above this share of multiplications the batched product of kept blocks is no faster than the dense one.
_WORTH_BLOCKS = 0.7


class PressedWeight(nn.Module):
    """Weight matrix [out, in] with an optional mask and a quantizer, evaluated once per forward pass.

    `gates`: number of matrices stacked by rows (4 for an LSTM), which may share one mask. The mask is a buffer:
    a checkpoint carries it, and what is derived from it follows when it changes. `outline`: how a mask other than
    `hcgs` is made; `pruning`: how it is thinned further, and `within`, bool [out, in], what that chooses from; `reads`:
    how the units behind its columns are removed, where they are. While `probing`, the numbers are the same, but
    removed weights have a gradient too. The parameter is left uninitialised.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        press: LayerPress,
        gates: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.press, self.gates = press, gates
        self.weight = nn.Parameter(torch.empty(shape))
        self.quantizer = quantizer_of(press)
        self.outline, self.probing = mask_plan_of(press), False
        self.pruning = prune_plan_of(press, self.outline)
        self.reads: MaskPlan | None = None
        mask = None if press.hcgs is None else gate_mask(shape, press.hcgs, gates, generator)
        if self.outline is not None:
            mask = self.outline.first_mask(shape, gates, generator)
        if self.pruning is not None:
            mask = torch.ones(shape, dtype=torch.bool) if mask is None else mask.repeat(shape[0] // mask.shape[0], 1)
        self.register_buffer("mask", mask)
        self.register_buffer("within", None if self.pruning is None else mask.clone())
        self._cache: tuple[object, BlockStructure] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.weight.shape[0], self.weight.shape[1]

    @property
    def plan(self) -> MaskPlan | None:
        """How, and when, the mask is chosen; None for `hcgs` and without a mask."""
        return self.pruning or self.outline

    @property
    def outline_method(self) -> MaskMethod | None:
        """How the mask, or with `pruning` what it lies within, is made; `hcgs` is said as the method that it is."""
        if self.press.hcgs is not None:
            hcgs = self.press.hcgs
            return HierarchyMask(blocks=hcgs.blocks, keep=hcgs.keep, share_gates=hcgs.share_gates)
        plan = self.outline or self.reads
        return None if plan is None else plan.method

    def full_mask(self) -> Tensor | None:
        """Mask of every weight, bool [out, in]; a shared one is repeated for each gate."""
        if self.mask is None:
            return None
        return self.mask.repeat(self.weight.shape[0] // self.mask.shape[0], 1)

    @property
    def density(self) -> float:
        """Kept weights over all weights, as realised."""
        return 1.0 if self.mask is None else float(self.mask.float().mean())

    @property
    def asked_density(self) -> float:
        """The density that the options name."""
        return asked_density(self.press) * (1.0 if self.reads is None else self.reads.method.asked_density)

    def read_units(self, plan: MaskPlan) -> None:
        """Let columns be removed as `plan` does the units that they read; gives the matrix a mask if it has none."""
        self.reads = plan
        if self.mask is None:
            rows = self.weight.shape[0] // self.gates
            self.mask = torch.ones(rows, self.weight.shape[1], dtype=torch.bool)

    @property
    def hierarchy(self) -> tuple[tuple[int, Fraction], ...]:
        """`(side, keep)` of each level of a mask of square blocks, coarse first; empty for any other and for none."""
        if self.plan is not None:
            return self.plan.method.hierarchy
        return () if self.press.hcgs is None else tuple(zip(self.press.hcgs.blocks, self.press.hcgs.keep))

    @property
    def _side(self) -> int | None:
        """Of the square blocks that the mask keeps, whole or in part."""
        if self.outline is not None:
            return self.outline.method.side
        return None if self.press.hcgs is None else self.press.hcgs.blocks[0]

    @property
    def structure(self) -> BlockStructure | None:
        """Kept blocks of the coarse level, or None where the dense product is the faster one, or the right one."""
        side = self._side
        if self.mask is None or side is None or self.probing or not self.quantizer.granularity.whole_rows:
            return None
        key = (self.mask.data_ptr(), self.mask._version, self.mask.device)
        if self._cache is None or self._cache[0] != key:
            found = gate_structure(self.mask, side, self.gates, self.weight.shape[0])
            self._cache = (key, found)
        found = self._cache[1]
        return found if found.computed_fraction <= _WORTH_BLOCKS else None

    def forward(self) -> Tensor:
        """The dense matrix [out, in] that the model multiplies with."""
        mask = self.full_mask()
        if mask is None:
            return self.quantizer(self.weight)
        seen = self.quantizer(self.weight * mask) * mask
        return seen + (self.weight - self.weight.detach()) * ~mask if self.probing else seen

    def compact(self, structure: Selection) -> Tensor:
        """The same weights as `forward`, in the compact form of `structure`, whose rows are rows of the matrix."""
        return self.quantizer(compact(self.weight, structure)) * structure.mask

    def integers(self) -> tuple[Tensor, Tensor]:
        """`(int64 [out, in], scale)`, zero where the mask removes; `integers * scale == forward()` to the bit."""
        mask = self.full_mask()
        if mask is None:
            return self.quantizer.integers(self.weight)
        integers, scale = self.quantizer.integers(self.weight * mask)
        return integers * mask, scale


def asked_density(press: LayerPress) -> float:
    """Kept over all weights of a matrix, as `press` says it."""
    outline = mask_plan_of(press)
    plans = (outline, prune_plan_of(press, outline))
    asked = 1.0 if press.hcgs is None else press.hcgs.asked_density
    return asked * math.prod(plan.method.asked_density for plan in plans if plan is not None)


def check_press(press: LayerPress) -> None:
    """UserError, as when the layer is built, for a method or option that is wrong whatever the matrices' sizes."""
    for name in ("input", "recurrent"):
        try:
            own = press.of_matrix(name)
            quantizer_of(own), prune_plan_of(own, mask_plan_of(own)), act_quantizer_of(own)
        except UserError as error:
            raise error if getattr(press, name) is None else UserError(f"{name}: {error}") from None
    act_quantizer_of(press.of_cell())


def learned_ranges(module: nn.Module) -> list[nn.Parameter]:
    """Step sizes and ranges that the quantizers in `module` learn, in the order of its modules."""
    quantizers = [m for m in module.modules() if isinstance(m, BitQuantizer)]
    return [p for q in quantizers for p in q.parameters()]
