"""The index of a mask without structure in a packed model: the runs of `frenchpress.common.runs`, by which size.yaml
charges such a mask too (index code `run_length`, docs/index_codes.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.common.bits import BitReader, pack_bits
from frenchpress.common.runs import Mask, best_width, run_numbers, take_runs

WIDEST = 16


@dataclass(frozen=True)
class Runs:
    """What a reader must know of one mask beside the numbers: weights kept, and bits of a number, 1 to WIDEST."""

    kept: int
    width: int

    @classmethod
    def of(cls, mask: Mask) -> Runs:
        """Those of `mask` with the fewest bits."""
        return cls(int(np.count_nonzero(mask)), best_width(mask, WIDEST))


def encode_runs(mask: Mask) -> NDArray[np.uint8]:
    """Bits of the index of `mask` [rows, columns], with the width of `Runs.of`."""
    width = best_width(mask, WIDEST)
    return pack_bits(run_numbers(mask, width), width)


def decode_runs(reader: BitReader, shape: tuple[int, int], runs: Runs) -> Mask:
    """The mask bool [rows, columns]; UserError when a run ends outside of it, or when the numbers are cut short."""
    return take_runs(reader, shape, runs.kept, runs.width)
