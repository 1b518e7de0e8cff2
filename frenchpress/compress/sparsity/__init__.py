"""Masks beyond `hcgs:`: methods by name, and when they are chosen.

A method is a frozen dataclass, its options, with `make(shape, generator, score) -> mask`, and a line below.
"""

from __future__ import annotations

from frenchpress.common import UserError
from frenchpress.compress.options import LayerPress
from frenchpress.compress.sparsity.base import MaskMethod
from frenchpress.compress.sparsity.blocks import DynamicMask, GuidedMask, HierarchyMask
from frenchpress.compress.sparsity.magnitude import (
    BankMask,
    BlockMask,
    CellMask,
    ColumnMask,
    MagnitudeMask,
    PruneMask,
    RowMask,
)
from frenchpress.compress.sparsity.patterns import CooMask, PatternCooMask, PatternMask
from frenchpress.compress.sparsity.plan import MaskPlan, make_plan, read_plan
from frenchpress.compress.sparsity.timing import Timing

__all__ = [
    "MASKS",
    "CellMask",
    "DynamicMask",
    "HierarchyMask",
    "MaskMethod",
    "MaskPlan",
    "Timing",
    "mask_plan_of",
    "prune_plan_of",
]

MASKS: dict[str, type[MaskMethod]] = {
    "hcgs": HierarchyMask,
    "guided": GuidedMask,
    "dynamic": DynamicMask,
    "magnitude": MagnitudeMask,
    "block": BlockMask,
    "row": RowMask,
    "column": ColumnMask,
    "cell": CellMask,
    "bank": BankMask,
    "pattern": PatternMask,
    "coo": CooMask,
    "pattern_coo": PatternCooMask,
}


def mask_plan_of(press: LayerPress) -> MaskPlan | None:
    """What the `mask:` section of a layer asks for, None without one; UserError where it cannot be."""
    return None if press.mask is None else read_plan(press.mask, MASKS)


def prune_plan_of(press: LayerPress, outline: MaskPlan | None) -> MaskPlan | None:
    """What the `prune:` section of a layer asks for, None without one; `outline` is its `mask:`, which is thinned.

    UserError where it cannot be, or where that mask moves while it would be thinned.
    """
    if press.prune is None:
        return None
    if outline is not None and outline.timing is not None:
        raise UserError(
            f"prune: thins hcgs or a mask that is drawn before training, and {outline.name} is chosen later; "
            "give that mask a lower density"
        )
    values = {key: value for key, value in press.prune.items() if value is not None}
    return make_plan("prune", PruneMask, values, "prune")
