"""Levels that a shift, or two shifts and an addition, multiply with."""

from __future__ import annotations

import torch
from torch import Tensor

from frenchpress.compress.quantizers.base import GridQuantizer
from frenchpress.compress.quantizers.grid import round_scale


class CodebookQuantizer(GridQuantizer):
    """Nearest of a few levels symmetric about zero, one scale per row.

    `magnitudes`: the levels from zero up, as integers on the finest grid that has them all. A weight is stored as a
    sign and the place of its magnitude in that list, in `bits` bits; `integers` gives the levels themselves. The
    scale maps the largest magnitude of the row to the largest level. The gradient passes unchanged.
    """

    def __init__(self, bits: int, options: object = None) -> None:
        super().__init__(bits)
        # Not in the state: the same for every model. float64 holds every level and every midpoint exactly.
        levels = torch.tensor(self.magnitudes(bits), dtype=torch.float64)
        self.register_buffer("level", levels, persistent=False)
        self.register_buffer("middle", (levels[1:] + levels[:-1]) / 2, persistent=False)

    @staticmethod
    def magnitudes(bits: int) -> list[int]:
        """Levels from zero up."""
        raise NotImplementedError

    @property
    def levels(self) -> int:
        """Both signs, and zero once."""
        return 2 * len(self.level) - 1

    def scales_stored(self, rows: int) -> int:
        """One per row."""
        return rows

    def place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(levels, scale [..., 1])`."""
        level, middle = self.level.to(x.dtype), self.middle.to(x.dtype)
        size = x.abs()
        scale = round_scale(size.amax(-1, keepdim=True) / level[-1], self.bits)
        return level[torch.bucketize(size / scale, middle)] * x.sign(), scale


class PowerQuantizer(CodebookQuantizer):
    """Zero and powers of two: 0, +-s, +-s/2, ..., +-s/2^(n-1), n = 2^(b-1) - 1 (as Zhou et al. 2017, arXiv 1702.03044,
    eq. 1 to 4, the nearest level being taken).

    Multiplying with one is a shift. Levels crowd near zero: from 4 bits on more bits add none where weights are
    large. More than 6 bits would be shifts by over 30 places.
    """

    takes = range(2, 7)

    @staticmethod
    def magnitudes(bits: int) -> list[int]:
        """0, 1, 2, 4, ..."""
        return [0] + [2**i for i in range(2 ** (bits - 1) - 1)]


class PowerSumQuantizer(CodebookQuantizer):
    """Sums of two powers of two (APoT; Li et al., ICLR 2020, arXiv 1909.13144, eq. 5 with n = 2 terms).

    The b - 1 bits of the magnitude are shared between the terms, the first having one more where they are odd in
    number. Terms are zero or 2^0, 2^-2, 2^-4, ... (first) and 2^-1, 2^-3, ... (second), so that every sum is
    another level. The paper learns the range; here it is the largest magnitude of the row.
    """

    takes = range(3, 8)

    @staticmethod
    def magnitudes(bits: int) -> list[int]:
        """All sums, in ascending order."""
        first, second = 2 ** (bits // 2) - 1, 2 ** ((bits - 1) // 2) - 1
        lowest = max(2 * (first - 1), 2 * second - 1)
        a = [0] + [2 ** (lowest - 2 * i) for i in range(first)]
        b = [0] + [2 ** (lowest - 2 * i - 1) for i in range(second)]
        return sorted(x + y for x in a for y in b)
