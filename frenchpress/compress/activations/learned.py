"""Ranges that are trained with the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.compress import workers
from frenchpress.compress.activations.base import ActQuantizer, largest
from frenchpress.compress.quantizers import largest_integer, round_scale, to_grid
from frenchpress.compress.quantizers.grid import at_least_float32, first_step, step_gradient
from frenchpress.compress.quantizers.uniform import SMALLEST_STEP


class _LearnedGrid(torch.autograd.Function):
    """`x` on the grid of `limit` and `scale`; gradients to `x` inside, and to the parameter."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, parameter: Tensor, limit: Tensor, scale: Tensor, quantizer: LearnedActQuantizer
    ) -> Tensor:
        ctx.save_for_backward(x, limit, scale)
        ctx.quantizer = quantizer
        return to_grid(x, scale, quantizer.bits).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, limit, scale = ctx.saved_tensors
        learned = ctx.quantizer.learned_gradient(grads[0], x, limit, scale)
        return grads[0] * (x.abs() <= limit), learned, None, None, None


class LearnedActQuantizer(ActQuantizer):
    """Base: `value` [] is a parameter, 0 until the first training call, which sets it.

    In evaluation before that the tensor's own maximum is the range (inside a recurrence: nothing is rounded).
    """

    takes = range(2, 17)

    def __init__(self, bits: int, limit: float | None = None, options: object = None) -> None:
        super().__init__(bits, limit)
        self.value = nn.Parameter(torch.zeros(()))

    @property
    def clips(self) -> bool:
        """Yes."""
        return True

    @property
    def observing(self) -> bool:
        """Until `value` is set."""
        return self.training and not self.value

    @property
    def learned(self) -> nn.Parameter | None:
        """`value`."""
        return self.value

    def first_value(self, x: Tensor) -> Tensor:
        """What `value` starts from, given the first tensor."""
        raise NotImplementedError

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Start from `x`."""
        self.refuse_unless_finite(largest(x), "NaN or infinite, while its range is calibrated")
        self.value.copy_(self.first_value(x))

    def range_of(self, x: Tensor) -> Tensor:
        """The range as learnt so far."""
        found = self.grid(x.dtype)
        return largest(x) if found is None else found[0]

    def forward(self, x: Tensor) -> Tensor:
        """`x` on the grid; in training the first call sets the range."""
        if self.observing:
            self.observe(x)
        found = self.grid(x.dtype)
        if found is None:
            return super().forward(x)
        return _LearnedGrid.apply(at_least_float32(x), self.value, *found, self).to(x.dtype)


@dataclass(frozen=True)
class PactOptions:
    """`decay`: weight of the penalty decay / 2 * range^2, which pulls the range in while little is clipped."""

    decay: float = 2e-4

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise UserError(f"decay: {self.decay} is out of range; it must be at least 0 and at most 1")


class PactQuantizer(LearnedActQuantizer):
    """Learned clipping (PACT; Choi et al. 2018, arXiv 1805.06085, eq. 1 to 3), for activations of both signs.

    The range is [-a, a] where the paper, behind a ReLU, has [0, a]. The gradient of a is that of the clipped outputs
    with their sign, plus `decay` * a (the L2 penalty of sec. 3.1; it is in no loss that is printed). a starts at the
    bound where one is known, else at the largest magnitude of the first training call.
    """

    Options = PactOptions

    def __init__(self, bits: int, limit: float | None = None, options: PactOptions = PactOptions()) -> None:  # noqa: B008
        super().__init__(bits, limit)
        self.decay = options.decay
        if limit is not None:
            nn.init.constant_(self.value, limit)

    def first_value(self, x: Tensor) -> Tensor:
        """Largest magnitude."""
        return workers.largest(largest(x))

    @torch.no_grad()
    def grid(self, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """From the range learnt."""
        if not self.value:
            return None
        limit = self.value.clamp(min=SMALLEST_STEP)
        return limit, self.scale_of(limit, dtype)

    def learned_gradient(self, grad: Tensor, x: Tensor, limit: Tensor, scale: Tensor) -> Tensor:
        """Clipped outputs alone, plus the penalty's."""
        clipped = (grad * x.sign() * (x.abs() > limit)).sum()
        return clipped.to(self.value.dtype) + self.decay * self.value.detach()


class LsqActQuantizer(LearnedActQuantizer):
    """Learned step size of activations (Esser et al. 2020, arXiv 1902.08153); `value` is the step.

    As for weights, symmetric; the gradient is scaled by 1 / sqrt(F Q), F the number of features, Q the largest
    integer. Starts at 2 mean|x| / sqrt(Q) of the first training call.
    """

    def first_value(self, x: Tensor) -> Tensor:
        """2 mean|x| / sqrt(Q); where everything is zero, one step up to 1."""
        step = workers.mean(first_step(x, self.bits), x.count_nonzero())
        return torch.where(step > 0, step, torch.full_like(step, 1 / largest_integer(self.bits)))

    @torch.no_grad()
    def grid(self, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """From the step learnt."""
        if not self.value:
            return None
        exact = torch.promote_types(dtype, torch.float32)
        scale = round_scale(self.value.clamp(min=SMALLEST_STEP).to(exact), self.bits)
        return scale * largest_integer(self.bits), scale

    def scale_of(self, limit: Tensor, dtype: torch.dtype) -> Tensor:
        """The step itself; of a range, what brings it to the largest integer."""
        found = self.grid(dtype)
        return super().scale_of(limit, dtype) if found is None else found[1]

    def learned_gradient(self, grad: Tensor, x: Tensor, limit: Tensor, scale: Tensor) -> Tensor:
        """Rounding error inside, largest integer outside."""
        return step_gradient(grad, x, scale, self.bits, x.shape[-1]).to(self.value.dtype)
