"""Static ranges, as an integer machine needs them: known from the start, or calibrated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from frenchpress.common import UserError, unknown
from frenchpress.compress.activations.base import ActQuantizer, largest
from frenchpress.compress.activations.ranges import KL_BITS, RANGES, Histogram
from frenchpress.compress.options import bit_range
from frenchpress.compress.quantizers import BitQuantizer

_BATCHES, _PERCENTILE = 20, 99.9


@dataclass(frozen=True)
class FixedOptions:
    """`range`: how the range is found, `minmax`, `percentile`, `kl` or `mse`; None: the bound that is known, else
    `minmax`. `batches`: training calls that are looked at, 20 if None. `percentile`: of the magnitudes, 99.9 if None.
    """

    range: str | None = None
    batches: int | None = None
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
        if self.batches is not None and self.batches < 1:
            raise UserError(f"batches: {self.batches} must be at least 1")


class FixedActQuantizer(ActQuantizer):
    """Static range: known from the start, or found from the first `batches` training calls.

    While it calibrates it quantizes with what it has seen so far; then the range stays. Range and count are
    buffers, so a checkpoint carries them. In evaluation before any training call the tensor's own maximum
    serves and nothing is remembered (inside a recurrence: nothing is rounded). Asking for a `range` calibrates it
    also where a bound is known. UserError for options that would do nothing.
    """

    Options = FixedOptions

    def __init__(self, bits: int, limit: float | None = None, options: FixedOptions = FixedOptions()) -> None:  # noqa: B008
        super().__init__(bits, limit)
        self.known = limit is not None and options.range is None
        if self.known and options.batches is not None:
            raise UserError("batches: the range is known here and not calibrated; say range as well")
        if options.range == "kl" and bits not in KL_BITS:
            raise UserError(f"range: kl takes {bit_range(KL_BITS)}, not {bits}; use mse")
        self.batches = options.batches or _BATCHES
        self.percentile = options.percentile or _PERCENTILE
        self.options = options
        self._rule = RANGES.get(options.range or "")
        self.histogram = Histogram() if self._rule else None
        self.register_buffer("limit", torch.tensor(limit if self.known else 0.0))
        self.register_buffer("seen", torch.tensor(self.batches if self.known else 0))

    @property
    def clips(self) -> bool:
        """Where the range is calibrated."""
        return not self.known

    @property
    def observing(self) -> bool:
        """While calibrating."""
        return self.training and not self.known and int(self.seen) < self.batches

    def take_over(self, other: BitQuantizer) -> None:
        """Go on with the range of `other`, where both find theirs in the same way; a known one stays as it is."""
        alike = isinstance(other, FixedActQuantizer) and other.options == self.options
        if alike and not (self.known or other.known):
            super().take_over(other)

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Let the range take in `x`, and count the call."""
        peak = largest(x)
        self.refuse_unless_finite(peak, "NaN or infinite, while its range is calibrated")
        if self._rule is None:
            self.limit.copy_(torch.maximum(self.limit, peak.to(self.limit.dtype)))
        else:
            self.histogram.add(x)
            counts, width = self.histogram.counts, self.histogram.width
            if width:
                self.limit.copy_(self._rule(counts, width, self.bits, self.percentile))
        self.seen += 1

    def grid(self, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """The static range, once there is one."""
        if not (self.known or int(self.seen)):
            return None
        return self.limit.clone(), self.scale_of(self.limit, dtype)

    def range_of(self, x: Tensor) -> Tensor:
        """The static range; in training it may first come to take in `x`."""
        if self.observing:
            self.observe(x)
        return self.limit if self.known or int(self.seen) else largest(x)
