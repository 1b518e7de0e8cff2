"""Masks beyond `hcgs:`: methods by name, and when they are chosen.

A method is a frozen dataclass, its options, with `make(shape, generator, score) -> mask`, and a line below.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from frenchpress.common import UserError
from frenchpress.compress.options import LayerPress
from frenchpress.compress.sparsity.base import MaskMethod
from frenchpress.compress.sparsity.blocks import DynamicMask, GuidedMask, HierarchyMask
from frenchpress.compress.sparsity.dictionary import read_patterns, spell_patterns
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
    "self_contained",
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


def self_contained(press: LayerPress) -> LayerPress:
    """`press` with the patterns of its `.npy` dictionaries in place of the files' names; UserError as in reading them.

    What is kept with a model then says all of its masks, whatever becomes of the files.
    """
    own = {name: getattr(press, name) for name in ("input", "recurrent")}
    said = {name: replace(matrix, mask=_spelt(matrix.mask)) for name, matrix in own.items() if matrix is not None}
    return replace(press, mask=_spelt(press.mask), **said)


def _spelt(mask: dict[str, Any] | None) -> dict[str, Any] | None:
    dictionary = (mask or {}).get("dictionary")
    if not isinstance(dictionary, str) or not dictionary.endswith(".npy"):
        return mask
    patterns, block, _ = read_patterns(dictionary)
    return {**(mask or {}), "dictionary": spell_patterns(patterns, block)}
