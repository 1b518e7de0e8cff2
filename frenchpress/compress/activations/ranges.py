"""Ranges found from a histogram of magnitudes: percentile, least squared error, least divergence.

Each is a function `(counts, width, bits, percentile) -> range`: `counts` int64 [bins] of magnitudes in equal bins over
[0, width], `width` a scalar tensor; the range is a scalar tensor of its type.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from frenchpress.compress.quantizers import largest_integer

BINS = 4096
_CANDIDATES = 128
_KL_KEEPS = 0.99
# With fewer bits every divergence from so few levels is alike; with more a step of the grid is hardly wider than a bin.
KL_BITS = range(4, 11)


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
        self._widen(size.amax())
        places = (size / self.width.to(size.dtype) * BINS).long().clamp_(max=BINS - 1)
        self.counts += torch.bincount(places, minlength=BINS)

    def _widen(self, peak: Tensor) -> None:
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
RANGES: dict[str, RangeRule] = {"percentile": percentile_range, "kl": kl_range, "mse": mse_range}
