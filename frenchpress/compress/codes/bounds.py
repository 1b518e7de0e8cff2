"""What no code can do better than."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from frenchpress.common.hierarchy import rows_of_blocks
from frenchpress.compress.codes.hcgs import level_blocks
from frenchpress.compress.codes.index import Block, Mask


def log2_choices(total: int, kept: int) -> float:
    """log2 of the number of ways to keep `kept` of `total`."""
    return (math.lgamma(total + 1) - math.lgamma(kept + 1) - math.lgamma(total - kept + 1)) / math.log(2)


def mask_bound(mask: Mask) -> float:
    """Bits that a mask of so many kept weights needs on average if any such mask is as likely: log2 C(n, k)."""
    return log2_choices(mask.size, int(np.count_nonzero(mask)))


def hcgs_bound(mask: Mask, blocks: Sequence[int | Block]) -> float:
    """The same where only masks of this hierarchical structure (one matrix, not stacked) are possible, in bits."""
    return sum(log2_choices(columns, len(kept)) for _, columns, kept in rows_of_blocks(mask, level_blocks(blocks)))


def value_entropy(values: NDArray[np.int64]) -> float:
    """Zeroth-order entropy of `values` times their number, in bits: what a code of each value by itself needs."""
    counts = np.unique(values, return_counts=True)[1]
    return float(-(counts * np.log2(counts / max(1, values.size))).sum()) if values.size else 0.0
