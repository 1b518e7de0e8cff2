"""Levels that a shift, or a few shifts and additions, multiply with."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from frenchpress.compress.quantizers.base import Quantizer
from frenchpress.compress.quantizers.codes import ROW, Codes, Granularity, codes_in
from frenchpress.compress.quantizers.grid import round_scale


class CodebookQuantizer(Quantizer):
    """Nearest of a few levels symmetric about zero, one scale per row.

    `magnitudes`: the levels from zero up, as integers on the finest grid that has them all. A weight is stored as its
    place in the table of the levels of both signs, in `bits` bits; `integers` gives the levels themselves. The scale
    maps the largest magnitude of the row to the largest level. The gradient passes unchanged.
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

    @property
    def granularity(self) -> Granularity:
        """A row."""
        return ROW

    @property
    def top(self) -> int:
        """The largest level."""
        return int(self.level[-1])

    def codes_of(self, integers: Tensor, scale: Tensor) -> Codes:
        """The place of each level among those of both signs."""
        table = torch.cat([-self.level[1:].flip(0), self.level]).to(torch.int64)
        return codes_in(table, integers, scale)

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
    """Sums of powers of two (APoT; Li et al., ICLR 2020, arXiv 1909.13144, eq. 5, with base bit-width k = 2).

    One bit is the sign, the B = b - 1 others are shared between n = B / 2 terms of two bits: term i is zero or one of
    2^-i, 2^-(i+n), 2^-(i+2n), so that every sum is another level. Where B is odd there is, as in the authors' own
    program, a term of one bit more: zero or the power between the second and the third round. With 3 bits that is
    `pot`. The paper learns the range; here it is the largest magnitude of the row.
    """

    takes = range(3, 9)

    @staticmethod
    def magnitudes(bits: int) -> list[int]:
        """All sums, in ascending order."""
        terms, odd = divmod(bits - 1, 2)
        # Powers are dealt out in three rounds; the term of one bit has the one before the last round.
        last = 2 * terms + odd
        exponents = [(i, i + terms, i + last) for i in range(terms)] + [(2 * terms,)] * odd
        lowest = last + terms - 1
        choices = [[0, *(2 ** (lowest - e) for e in term)] for term in exponents]
        return sorted(map(sum, itertools.product(*choices)))
