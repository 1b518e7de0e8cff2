"""Masks: methods by name, and when they are chosen.

A method is a frozen dataclass, its options, with `make(shape, generator, score) -> mask`, and a line below.
"""

from __future__ import annotations

from typing import Any

from frenchpress.common import UserError
from frenchpress.compress.options import WeightPress
from frenchpress.compress.sparsity.base import MaskMethod
from frenchpress.compress.sparsity.blocks import DynamicMask, GuidedMask, HierarchyMask
from frenchpress.compress.sparsity.dictionary import read_patterns, spell_patterns
from frenchpress.compress.sparsity.magnitude import (
    BankMask,
    BlockMask,
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
    "DynamicMask",
    "HierarchyMask",
    "MaskMethod",
    "MaskPlan",
    "Timing",
    "mask_plan_of",
    "RowMask",
    "prune_plan_of",
    "spelt_mask",
]

MASKS: dict[str, type[MaskMethod]] = {
    "hcgs": HierarchyMask,
    "guided": GuidedMask,
    "dynamic": DynamicMask,
    "magnitude": MagnitudeMask,
    "block": BlockMask,
    "row": RowMask,
    "column": ColumnMask,
    "bank": BankMask,
    "pattern": PatternMask,
    "coo": CooMask,
    "pattern_coo": PatternCooMask,
}


def mask_plan_of(press: WeightPress) -> MaskPlan | None:
    """What `mask:` asks for, None without it; UserError where it cannot be."""
    return None if press.said_mask is None else read_plan(press.said_mask, {**MASKS, **press.masks})


def prune_plan_of(press: WeightPress, outline: MaskPlan | None) -> MaskPlan | None:
    """What the `prune:` section of a layer asks for, None without one; `outline` is its `mask:`, pruned further.

    UserError where it cannot be, or where that mask moves meanwhile.
    """
    if press.prune is None:
        return None
    if outline is not None and outline.timing is not None:
        raise UserError(
            f"prune: needs hcgs or a mask that is fixed before training, and {outline.name} is chosen later; "
            "give that mask a lower density"
        )
    values = {key: value for key, value in press.prune.items() if value is not None}
    return make_plan("prune", PruneMask, values, "prune")


def spelt_mask(mask: dict[str, Any] | None) -> dict[str, Any] | None:
    """A `mask:` section with the patterns of a `.npy` dictionary in place of the file's name; UserError as in reading
    them.
    """
    dictionary = (mask or {}).get("dictionary")
    if not isinstance(dictionary, str) or not dictionary.endswith(".npy"):
        return mask
    patterns, block, _ = read_patterns(dictionary)
    return {**(mask or {}), "dictionary": spell_patterns(patterns, block)}
