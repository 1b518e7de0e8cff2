"""What a weight is worth: what masks that choose go by. A criterion is a class and a line in `CRITERIA`."""

from __future__ import annotations

import torch
from torch import Tensor


class Magnitude:
    """|w| (Han et al. 2015, arXiv 1506.02626); the base of the others.

    `observes`: whether it goes by gradients, and has to see some before it can tell. `state`: what a checkpoint
    keeps of it, float32 [out, in], None where there is nothing.
    """

    observes = False

    def __init__(self, weight: Tensor) -> None:
        """`weight` [out, in] as training starts."""
        self.state: Tensor | None = None

    def observe(self, weight: Tensor, grad: Tensor, kept: Tensor) -> None:
        """See `weight` and the gradient of the loss, both [out, in], before an update; `kept`: bool [out, in]."""

    def score(self, weight: Tensor) -> Tensor:
        """At least 0, large where a weight matters, [out, in]; `weight` is as it is now."""
        return weight.detach().abs()


class Gained(Magnitude):
    """|w| - |w_0|: the magnitude that a weight has gained since the start, which leaves out the noise that it started
    with, shifted so that the least is 0 (`magnitude_increase` of Zhou et al. 2019, arXiv 1905.01067, sec. 2).

    The start is the initialisation that the seed draws; a model of the same seed, from which a run may begin, had it
    too.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        self._start = weight.detach().abs()

    def score(self, weight: Tensor) -> Tensor:
        """The gain, from the least on."""
        gain = weight.detach().abs() - self._start.to(weight.device)
        return gain - gain.min()


class Taylor(Magnitude):
    """|w dL/dw|, averaged over steps: what the loss would change by without the weight, to first order.

    (Molchanov et al. 2017, arXiv 1611.06440, eq. 7, for single weights.) A removed weight keeps the score it had.
    """

    observes = True
    _KEPT = 0.99  # of the average, per step

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        self.state = torch.zeros_like(weight, requires_grad=False)

    def observe(self, weight: Tensor, grad: Tensor, kept: Tensor) -> None:
        """Take the step into the average."""
        self.state = torch.where(kept, torch.lerp((weight.detach() * grad).abs(), self.state, self._KEPT), self.state)

    def score(self, weight: Tensor) -> Tensor:
        """The average."""
        return self.state


class Movement(Taylor):
    """- sum over steps of w dL/dw: large where training moves a weight away from zero (Sanh et al. 2020,
    arXiv 2005.07683, eq. 3), shifted so that the least is 0. A removed weight keeps the score it had.
    """

    def observe(self, weight: Tensor, grad: Tensor, kept: Tensor) -> None:
        """Add the step to the sum."""
        self.state = self.state - weight.detach() * grad * kept

    def score(self, weight: Tensor) -> Tensor:
        """The sum, from the least on."""
        return self.state - self.state.min()


CRITERIA: dict[str, type[Magnitude]] = {
    "magnitude": Magnitude,
    "gained": Gained,
    "taylor": Taylor,
    "movement": Movement,
}
