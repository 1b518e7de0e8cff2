"""Ranges found from a histogram of magnitudes, of activations or of weights.

Each is a function `(counts, width, bits, percentile) -> range`: `counts` int64 [bins] of magnitudes in equal bins over
[0, width], `width` a scalar tensor; the range is a scalar tensor of its type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from frenchpress.common import UserError, unknown
from frenchpress.compress.options import bit_range
from frenchpress.compress.quantizers.grid import largest_integer

BINS = 4096
_CANDIDATES = 128
_KL_KEEPS = 0.99
# With fewer bits every divergence from so few levels is alike; with more a step of the grid is hardly wider than a bin.
KL_BITS = range(4, 11)
PERCENTILE = 99.9
_SIGMAS = 3.0


class Histogram(nn.Module):
    """Counts of magnitudes, in buffers, so that a checkpoint taken while they are collected goes on with them.

    The width is a power of two and doubles, bins being joined in pairs, when something larger comes; so the result
    depends on what was seen and not on its order. Zeros are left out: padding is zero.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(BINS, dtype=torch.int64))
        self.register_buffer("width", torch.zeros(()))

    @torch.no_grad()
    def add(self, x: Tensor) -> None:
        """Count the finite magnitudes in `x`, of any shape; others are for the loss to complain of."""
        size = x.detach().abs().flatten()
        size = size[(size > 0) & size.isfinite()]
        if not len(size):
            return
        self.widen(size.amax())
        places = (size / self.width.to(size.dtype) * BINS).long().clamp_(max=BINS - 1)
        self.counts += torch.bincount(places, minlength=BINS)

    def widen(self, peak: Tensor) -> None:
        """Let the bins reach `peak` [], finite."""
        needed = torch.exp2(torch.ceil(torch.log2(peak))).to(self.width.dtype)
        if not self.width:
            self.width.copy_(needed)
        while self.width < needed:
            joined = self.counts.view(-1, 2).sum(1)
            self.counts.zero_()[: BINS // 2] = joined
            self.width *= 2


def percentile_range(counts: Tensor, width: Tensor, bits: int, percentile: float) -> Tensor:
    """Edge of the bin below which `percentile` % of the magnitudes lie."""
    wanted = counts.sum().double() * (percentile / 100)
    place = (counts.cumsum(0) >= wanted).to(torch.uint8).argmax() + 1
    return width * place / BINS


def sigma_range(counts: Tensor, width: Tensor, bits: int, percentile: float) -> Tensor:
    """Three standard deviations about zero, or about what the magnitudes are distances from; the centres of the bins
    stand for what is in them.
    """
    centres = (torch.arange(BINS, device=width.device, dtype=torch.float64) + 0.5) * (width.double() / BINS)
    variance = (counts * centres.square()).sum() / counts.sum().clamp(min=1)
    return (_SIGMAS * variance.sqrt()).to(width.dtype)


def mse_range(counts: Tensor, width: Tensor, bits: int, percentile: float) -> Tensor:
    """The one of 128 equally spaced ranges with the least mean square error, clipping and rounding together.

    Exact for a density that is constant in each bin: the error is integrated over the bin. (Criterion of Banner et
    al. 2019, arXiv 1810.05723, sec. 3, for the distribution seen in place of an assumed one.)
    """
    limits = width.double() * torch.arange(1, _CANDIDATES + 1, device=width.device) / _CANDIDATES
    step = (limits / largest_integer(bits)).unsqueeze(1)
    edges = width.double() * torch.arange(BINS + 1, device=width.device) / BINS
    if bits == 1:
        # Every magnitude becomes the range itself.
        integral = (edges - step) ** 3 / 3
    else:
        nearest = (edges / step).round().clamp_(max=largest_integer(bits))
        integral = nearest * step**3 / 12 + (edges - nearest * step) ** 3 / 3
    errors = (integral.diff(dim=1) * counts).sum(1)
    return limits[errors.argmin()].to(width.dtype)


def kl_range(counts: Tensor, width: Tensor, bits: int, percentile: float) -> Tensor:
    """The range whose quantized distribution diverges least from the one seen (Migacz, GTC 2017, "8-bit inference
    with TensorRT").

    Candidates cut off at most 1 % and are multiples of one bin per positive level. Without that bound the least
    divergence of values that lie on a grid already, as those behind a quantized layer do, is that of a range next to
    nothing, with one bin per level and everything else in the last one.
    """
    levels = 2 ** (bits - 1)
    last = int(counts.nonzero().max()) + 1
    least = int((counts.cumsum(0) >= counts.sum().double() * _KL_KEEPS).to(torch.uint8).argmax()) + 1
    best, chosen = float("inf"), BINS
    for end in range(-(-least // levels) * levels, BINS + 1, max(levels, BINS // _CANDIDATES)):
        divergence = _divergence(counts, end, levels)
        if divergence < best:
            best, chosen = divergence, end
        if end >= last:
            break
    return width * chosen / BINS


def _divergence(counts: Tensor, end: int, levels: int) -> float:
    """KL divergence of the first `end` bins, the rest added to the last one, from their `levels` means."""
    inside = counts[:end].double()
    seen = inside.clone()
    seen[-1] += counts[end:].sum()
    grouped = inside.view(levels, -1)
    filled = (grouped > 0).double()
    coarse = (grouped.sum(1, keepdim=True) / filled.sum(1, keepdim=True).clamp(min=1) * filled).flatten()
    p, q = seen / seen.sum(), coarse / coarse.sum().clamp(min=1)
    # A bin that only what was cut off has filled is a certain loss, not an infinite one.
    return float(torch.where(p > 0, p * (p / q.clamp(min=1e-12)).log(), 0.0).sum())


RangeRule = Callable[[Tensor, Tensor, int, float], Tensor]
RANGES: dict[str, RangeRule] = {
    "percentile": percentile_range,
    "kl": kl_range,
    "mse": mse_range,
    "sigma": sigma_range,
}


@dataclass(frozen=True)
class RangeOptions:
    """`range`: how the range is found, `minmax`, `percentile`, `kl`, `mse` or `sigma`. `percentile`: of the magnitudes,
    99.9 if None.
    """

    range: str | None = None
    percentile: float | None = None

    def __post_init__(self) -> None:
        legal = ("minmax", *RANGES)
        if self.range is not None and self.range not in legal:
            raise UserError(f"range: {unknown(self.range, legal)}")
        if self.percentile is not None:
            if self.range != "percentile":
                raise UserError("percentile: goes with range: percentile alone")
            if not 0 < self.percentile <= 100:
                raise UserError(f"percentile: {self.percentile} must be above 0 and at most 100")

    def check_bits(self, bits: int) -> None:
        """UserError where the rule does not take so many."""
        if self.range == "kl" and bits not in KL_BITS:
            raise UserError(f"range: kl takes {bit_range(KL_BITS)}, not {bits}; use mse")

    def found(self, counts: Tensor, width: Tensor, bits: int) -> Tensor:
        """The range [] of what a histogram has counted; for a rule that needs one."""
        return RANGES[self.range](counts, width, bits, self.percentile or PERCENTILE)

    def share(self, sizes: Tensor, largest: Tensor, bits: int) -> Tensor | float:
        """What part of `largest`, the largest magnitude of each row [..., 1] or of all, is to be the range; at most 1.

        One part for all rows of `sizes`, magnitudes [..., columns] of which zeros are left out: the rule looks at the
        rows divided by their largest magnitudes.
        """
        if self.range in (None, "minmax"):
            return 1.0
        seen = Histogram().to(sizes.device)
        seen.add(sizes / largest.clamp(min=torch.finfo(sizes.dtype).tiny))
        return self.found(seen.counts, seen.width, bits).clamp(max=1.0).to(sizes.dtype) if seen.width else 1.0
