"""Levels that a shift, or a few shifts and additions, multiply with."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from frenchpress.common import UserError
from frenchpress.compress.quantizers.base import Quantizer
from frenchpress.compress.quantizers.codes import ROW, Codes, Granularity, codes_in
from frenchpress.compress.quantizers.grid import round_scale

# Exponents beyond what an integer of 53 bits has.
_LONGEST_TERM = 5


class CodebookQuantizer(Quantizer):
    """Nearest of a few levels symmetric about zero, one scale per row.

    `magnitudes`: the levels from zero up, as integers on the finest grid that has them all. A weight is stored as its
    place in the table of the levels of both signs, in `bits` bits; `integers` gives the levels themselves. The scale
    maps the largest magnitude of the row to the largest level. The gradient passes unchanged.
    """

    def __init__(self, bits: int, options: object = None) -> None:
        super().__init__(bits)
        self.options = options
        # Not in the state: the same for every model. float64 holds every level and every midpoint exactly.
        levels = torch.tensor(self.magnitudes(bits), dtype=torch.float64)
        self.register_buffer("level", levels, persistent=False)
        self.register_buffer("middle", (levels[1:] + levels[:-1]) / 2, persistent=False)

    def magnitudes(self, bits: int) -> list[int]:
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
        scale = self.scale_for(x)
        return self.level.to(x.dtype)[torch.bucketize(x.abs() / scale, self.middle.to(x.dtype))] * x.sign(), scale

    def scale_for(self, x: Tensor) -> Tensor:
        """What brings the largest level to the largest magnitude of each row [..., 1]."""
        return round_scale(x.abs().amax(-1, keepdim=True) / self.level[-1].to(x.dtype), self.bits)


class PowerQuantizer(CodebookQuantizer):
    """Zero and powers of two: 0, +-s, +-s/2, ..., +-s/2^(n-1), n = 2^(b-1) - 1 (as Zhou et al. 2017, arXiv 1702.03044,
    eq. 1 to 4, the nearest level being taken).

    Multiplying with one is a shift. Levels crowd near zero: from 4 bits on more bits add none where weights are
    large. More than 6 bits would be shifts by over 30 places.
    """

    takes = range(2, 7)

    def magnitudes(self, bits: int) -> list[int]:
        """0, 1, 2, 4, ..."""
        return [0] + [2**i for i in range(2 ** (bits - 1) - 1)]


@dataclass(frozen=True)
class PowerSumOptions:
    """`terms`: how many powers are added; the bits of a magnitude must divide by it. None: one for two bits."""

    terms: int | None = None


class PowerSumQuantizer(CodebookQuantizer):
    """Sums of powers of two (APoT; Li et al., ICLR 2020, arXiv 1909.13144, eq. 5).

    One bit is the sign; the B = b - 1 others are shared between n terms of k = B / n bits each: term i is zero or one
    of 2^-i, 2^-(i+n), 2^-(i+2n), ..., 2^k - 1 of them, so that every sum is another level. Without `terms` k is 2;
    where B is odd there then is, as in the authors' own program, a term of one bit more: zero or the power between the
    second and the third round. One term is `pot`. The paper learns the range; here it is the largest magnitude of the
    row.
    """

    Options = PowerSumOptions
    takes = range(3, 9)

    def __init__(self, bits: int, options: PowerSumOptions = PowerSumOptions()) -> None:  # noqa: B008 (frozen)
        if options.terms is not None:
            fits = [n for n in range(1, bits) if (bits - 1) % n == 0 and (bits - 1) // n <= _LONGEST_TERM]
            if options.terms not in fits:
                given = ", ".join(map(str, fits))
                raise UserError(f"terms: {options.terms} do not share {bits - 1} bits of magnitude evenly; use {given}")
        self.terms = options.terms
        super().__init__(bits, options)

    def magnitudes(self, bits: int) -> list[int]:
        """All sums, in ascending order."""
        exponents = _two_bit_terms(bits - 1) if self.terms is None else _even_terms(bits - 1, self.terms)
        lowest = max(map(max, exponents))
        choices = [[0, *(2 ** (lowest - e) for e in term)] for term in exponents]
        return sorted(map(sum, itertools.product(*choices)))


def _two_bit_terms(bits: int) -> list[tuple[int, ...]]:
    """Exponents of each term. Powers are dealt out in three rounds; a term of one bit comes before the last."""
    terms, odd = divmod(bits, 2)
    last = 2 * terms + odd
    return [(i, i + terms, i + last) for i in range(terms)] + [(2 * terms,)] * odd


def _even_terms(bits: int, terms: int) -> list[tuple[int, ...]]:
    return [tuple(range(i, terms * (2 ** (bits // terms) - 1), terms)) for i in range(terms)]
