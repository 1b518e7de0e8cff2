"""Options of every mask method, for matrices of any size from about 40 x 40 on, whatever it divides by."""

from collections.abc import Sequence

import torch
from torch import Tensor

from frenchpress.compress.sparsity import MASKS, HierarchyMask
from frenchpress.config.press import LayerPress

ALL_MASKS = {**MASKS, **LayerPress.masks}
"""Methods by name, with those of LSTM layers."""

METHODS = {
    "hcgs": {"blocks": [[8, 4], [2, 2]], "keep": ["1/2", "1/4"]},
    "guided": {"blocks": [8, 2], "keep": ["1/2", "1/4"], "after_epoch": 1},
    "dynamic": {"block": 4, "keep": "1/4", "start_epoch": 0, "end_epoch": 2},
    "magnitude": {"keep": "1/8", "after_epoch": 1},
    "block": {"block": [4, 2], "keep": "1/8", "after_epoch": 1},
    "row": {"keep": "1/4", "after_epoch": 1},
    "column": {"keep": "1/4", "after_epoch": 1},
    "cell": {"keep": "1/4", "after_epoch": 1},
    "bank": {"bank": 10, "keep": "1/5", "after_epoch": 1},
    "pattern": {"block": 4, "nonzeros": 4, "count": 6, "dictionary": "kmeans", "after_epoch": 1},
    "coo": {"block": [4, 8], "nonzeros": 3, "after_epoch": 1},
    "pattern_coo": {"block": 4, "nonzeros": 5, "count": 4, "after_epoch": 1},
}


def hcgs_of(blocks: Sequence[int], keep: Sequence[object], share_gates: bool = True) -> HierarchyMask:
    """What `hcgs: {blocks: ..., keep: ...}` says."""
    return HierarchyMask(blocks=tuple(blocks), keep=tuple(keep), share_gates=share_gates)


def hcgs_mask(
    shape: tuple[int, int], blocks: Sequence[int], keep: Sequence[object], generator: torch.Generator | None = None
) -> Tensor:
    """A mask of random blocks, bool of `shape`."""
    return hcgs_of(blocks, keep).make(shape, generator)
