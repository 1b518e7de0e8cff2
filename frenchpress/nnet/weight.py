"""The weight of a layer, as its `.cfg` says it: one pressed matrix, or two factors of it."""

from __future__ import annotations

import torch

from frenchpress.common import blaming
from frenchpress.compress import FactoredWeight, PressedWeight, Weight
from frenchpress.config import LayerPress


def weight_of(
    shape: tuple[int, int], press: LayerPress, gates: int = 1, generator: torch.Generator | None = None
) -> Weight:
    """The weight of `shape` (out, in) that `press` asks for; the others as in `Chain`."""
    if press.factors is None:
        return PressedWeight(shape, press, gates, generator)
    with blaming("factors"):
        return FactoredWeight(shape, press.factors, press, gates, generator)
