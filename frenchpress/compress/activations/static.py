"""Static ranges, as an integer machine needs them: known from the start, or calibrated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from frenchpress.common import UserError
from frenchpress.compress import workers
from frenchpress.compress.activations.base import ActQuantizer, largest
from frenchpress.compress.quantizers import BitQuantizer
from frenchpress.compress.quantizers.ranges import RANGES, Histogram, RangeOptions

_BATCHES = 20


@dataclass(frozen=True)
class FixedOptions(RangeOptions):
    """Without a `range`: the bound that is known, else `minmax`. `batches`: training calls that are looked at, 20 if
    None.
    """

    batches: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
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
        options.check_bits(bits)
        self.batches = options.batches or _BATCHES
        self.options = options
        self.histogram = Histogram() if options.range in RANGES else None
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
        peak = workers.largest(largest(x))
        self.refuse_unless_finite(peak, "NaN or infinite, while its range is calibrated")
        if self.histogram is None:
            self.limit.copy_(torch.maximum(self.limit, peak.to(self.limit.dtype)))
        else:
            counts, width = self.histogram.counts, self.histogram.width
            self.histogram.widen(peak)
            before = counts.clone()
            self.histogram.add(x)
            counts.copy_(before + workers.total(counts - before))
            if width:
                self.limit.copy_(self.options.found(counts, width, self.bits))
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
