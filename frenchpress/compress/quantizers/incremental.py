"""Weights that are quantized and fixed share by share, while the others train on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from frenchpress.common import UserError
from frenchpress.compress.quantizers.base import BitQuantizer
from frenchpress.compress.quantizers.grid import round_scale, straight_through
from frenchpress.compress.quantizers.powers import PowerQuantizer


@dataclass(frozen=True)
class IncrementalOptions:
    """`steps`: in each one half of the weights that are left become powers of two, in the last one all. `every`: epochs
    from one step to the next.
    """

    steps: int = 4
    every: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 16:
            raise UserError(f"steps: {self.steps} is out of range; it must be 1 to 16")
        if self.every < 1:
            raise UserError(f"every: {self.every} must be at least 1")


class IncrementalQuantizer(PowerQuantizer):
    """Incremental network quantization (INQ; Zhou et al. 2017, arXiv 1702.03044, sec. 2.2 and 2.3): levels of `pot`.

    At the start of training the larger half of the weights is rounded and fixed, then half of the rest, and so on; the
    others stay float and train. The range of each row is that of its first weights. A fixed weight has no gradient.
    Codes and `integers` round the float ones too, and are the model's from `settled_from` on. Without a schedule it is
    `pot`.
    """

    Options = IncrementalOptions

    def __init__(self, bits: int, options: IncrementalOptions = IncrementalOptions()) -> None:  # noqa: B008 (frozen)
        super().__init__(bits)
        self.options = options

    @property
    def movable(self) -> bool:
        """No: each weight is known by its place."""
        return False

    @property
    def settled_from(self) -> int:
        """That of the last step."""
        return (self.options.steps - 1) * self.options.every

    def size_for(self, shape: tuple[int, int]) -> None:
        """Which weights are fixed, and the largest weight of each row as training began; 0: it has not."""
        self.register_buffer("frozen", torch.zeros(shape, dtype=torch.bool))
        self.register_buffer("limit", torch.zeros(shape[0], 1))

    def take_over(self, other: BitQuantizer) -> None:
        """Nothing: what trains on from another model's weights fixes its own shares."""

    @property
    def held(self) -> Tensor:
        """Those that are fixed."""
        return self.frozen

    @property
    def started(self) -> bool:
        """Whether any weight is fixed."""
        return hasattr(self, "frozen") and bool(self.frozen.any())

    @torch.no_grad()
    def before_step(self, x: Tensor, epoch: int, step: int) -> None:
        """At the first step of an epoch, fix the largest weights that are not zero, so many as are due; at last all."""
        if step or epoch % self.options.every or epoch > self.settled_from:
            return
        if not self.started:
            self.limit.copy_(x.abs().amax(1, keepdim=True))
        number = epoch // self.options.every + 1
        if number == self.options.steps:  # with those that a mask removes now, and may bring back
            self.frozen.fill_(True)
            return
        kept = x != 0
        due = round(int(kept.sum()) * (1 - 0.5**number)) - int((self.frozen & kept).sum())
        size = x.abs().masked_fill(self.frozen, -1.0)
        self.frozen.view(-1)[size.flatten().topk(max(0, due)).indices] = True

    def scale_for(self, x: Tensor) -> Tensor:
        """As of `pot`, by the first weights."""
        if not self.started:
            return super().scale_for(x)
        return round_scale(self.limit.to(x.dtype) / self.level[-1].to(x.dtype), self.bits)

    def quantized(self, x: Tensor) -> Tensor:
        """Fixed weights on their levels, the others as they are."""
        if not self.started:
            return super().quantized(x)
        with torch.no_grad():
            integers, scale = self.placed(x)
            mixed = torch.where(self.frozen, integers * scale, x)
        return straight_through(x, mixed, ~self.frozen)
