"""Quantizers kept as they were published, for comparison: their levels, and so their bits, are counted as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from frenchpress.compress.quantizers.base import Quantizer
from frenchpress.compress.quantizers.codes import Codes, codes_in
from frenchpress.compress.quantizers.grid import round_scale, straight_through


class CeilQuantizer(Quantizer):
    """The published quantizer: sign(w) * ceil(|w| * 2^(b-1)) / 2^(b-1), w clamped to [-1, 1].

    Its 2^b + 1 levels do not fit into b bits: `stored_bits` is b + 1. The gradient is zero outside [-1, 1].
    """

    @property
    def levels(self) -> int:
        """2^b + 1."""
        return 2**self.bits + 1

    @property
    def stored_bits(self) -> int:
        """One more than asked, which is what the levels need."""
        return self.bits if self.is_float else self.bits + 1

    def scales_stored(self, rows: int, columns: int = 1) -> int:
        """None: it is known."""
        return 0

    def place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(integers, scale 2^-(b-1))`."""
        clamped = x.clamp(-1, 1)
        scale = torch.full((1,) * x.dim(), 2.0 ** (1 - self.bits), dtype=x.dtype, device=x.device)
        return clamped.sign() * (clamped.abs() * 2 ** (self.bits - 1)).ceil(), scale

    def inside(self, x: Tensor, scale: Tensor) -> Tensor:
        """In [-1, 1]."""
        return x.abs() <= 1


class OddQuantizer(Quantizer):
    """Base: 2^b levels at equal distances, symmetric about zero, which is none of them: the odd integers. As such they
    need b + 1 bits; their rank, which is what is stored, needs b.
    """

    @property
    def levels(self) -> int:
        """2^b."""
        return 2**self.bits

    @property
    def top(self) -> int:
        """2^b - 1."""
        return self.levels - 1

    def codes_of(self, integers: Tensor, scale: Tensor) -> Codes:
        """The rank of each; weights that are zero, which a mask has removed, are told by it."""
        odd = torch.arange(-self.top, self.top + 1, 2, device=integers.device)
        return codes_in(odd, integers, scale)


class DorefaQuantizer(OddQuantizer):
    """Weights of DoReFa (Zhou et al. 2016, arXiv 1606.06160, eq. 9): tanh(w) over its largest magnitude, on 2^b levels
    from -1 to 1 at equal distances, none of them zero.

    The size of the weights is lost, so train with it, behind a batch norm. The gradient goes through the tanh, the
    largest magnitude taken for constant. One bit is `binary` with `per_row: false`.
    """

    takes = range(2, 9)

    def scales_stored(self, rows: int, columns: int = 1) -> int:
        """None: it is known."""
        return 0

    def _bent(self, x: Tensor) -> Tensor:
        bent = x.tanh()
        return bent / bent.detach().abs().amax().clamp(min=torch.finfo(x.dtype).tiny)

    def place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(odd integers as floats, scale 1 / (2^b - 1))`."""
        integers = 2 * ((self._bent(x) + 1) * (self.top / 2)).round_() - self.top
        return integers, torch.full((1,) * x.dim(), 1 / self.top, dtype=x.dtype, device=x.device)

    def quantized(self, x: Tensor) -> Tensor:
        """`x` on the levels; the gradient is that of the tanh."""
        return straight_through(self._bent(x), super().quantized(x.detach()))


class BalancedQuantizer(OddQuantizer):
    """Every level equally often: histogram equalisation by percentiles (Zhou et al. 2017, arXiv 1706.07145, sec. 3).

    The weights of the matrix that are not zero are cut at their percentiles into 2^b parts of the same size; part i
    becomes s (2i + 1 - 2^b), a uniform grid from -max|w| to +max|w| with 2^b levels, none of them zero. The
    integers are odd and need b + 1 bits as such; their rank i, which is what is stored, needs b. A weight's sign may
    change, since it is the median that comes to lie in the middle. Idempotent, and symmetric in sign, where 2^b
    divides the number of weights and no two are equal. The gradient passes unchanged.
    """

    takes = range(1, 9)

    def place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`(odd integers as floats, scale [1, ..., 1])`."""
        values = x[x != 0].sort().values
        largest = x.abs().amax() if x.numel() else x.new_ones(())
        scale = round_scale(largest / self.top, self.bits).view((1,) * x.dim())
        if not len(values):
            return torch.zeros_like(x), scale
        first = -(-torch.arange(1, self.levels, device=x.device) * len(values) // self.levels)
        part = torch.bucketize(x, values[first.clamp_(max=len(values) - 1)], right=True)
        return (2 * part - self.top).to(x.dtype), scale
