"""ADMM: a penalty that pulls a float weight towards what a mask, a quantizer, or both would make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from frenchpress.common import UserError, blaming
from frenchpress.compress.chain import Chain
from frenchpress.compress.options import FLOAT_BITS, WeightPress, read_method_options
from frenchpress.compress.sparsity import Timing, mask_plan_of

_TIME = tuple(vars(Timing(after_epoch=0)))


@dataclass(frozen=True)
class AdmmOptions:
    """`rho`: weight of the penalty. `every`: `epoch`, or a number of steps, after which the target is found anew.
    `weight_bits`, `quantizer`, `quantizer_options`, `mask`: what a weight is pulled towards, as in a layer's entry; the
    mask, which goes by the weights, without a time.
    """

    rho: float = 1e-3
    every: int | str = "epoch"
    weight_bits: int = FLOAT_BITS
    quantizer: str = "uniform"
    quantizer_options: dict | None = None
    mask: dict | None = None

    def __post_init__(self) -> None:
        if not 0 < self.rho < float("inf"):
            raise UserError(f"rho: {self.rho} is out of range; it must be above 0")
        if self.weight_bits == FLOAT_BITS and self.mask is None:
            raise UserError("pulls towards nothing; say weight_bits, or a mask, or both")
        for key in _TIME:
            if key in (self.mask or {}):
                raise UserError(f"mask: {key}: it is chosen with each target; `every` of admm says when")
        for key in ("score", "lasso", "targeted"):
            if (self.mask or {}).get(key) is not None:
                raise UserError(f"mask: {key}: would do nothing; targets are the nearest, by magnitude")
        Timing(after_epoch=0, every=self.every)

    def chain(self, shape: tuple[int, int], gates: int) -> Chain:
        """What makes a weight of `shape` (out, in) what it is to be; UserError where it cannot be."""
        if self.mask is not None and _is_fixed(self.mask):
            raise UserError(f"mask: {self.mask['method']}: does not go by the weights, and is the nearest to none")
        mask = None if self.mask is None else {**self.mask, "after_epoch": 0}
        options = self.quantizer_options
        return Chain(shape, WeightPress(self.weight_bits, 32, self.quantizer, "fixed", options, mask=mask), gates)


def _is_fixed(mask: dict[str, Any]) -> bool:
    """Whether a `mask:` section can do without a time."""
    try:
        return mask_plan_of(WeightPress(mask=mask)) is not None
    except UserError:  # it needs one, or is wrong in another way, which is said when it is made
        return False


def read_admm(said: Mapping[str, Any]) -> AdmmOptions:
    """The options of an `admm:` section; UserError where they are wrong."""
    return read_method_options(AdmmOptions, dict(said), "admm")


class Admm:
    """ADMM of one matrix (Zhang et al. 2018, arXiv 1804.03294, sec. 3; for bits Leng et al. 2018, arXiv 1707.09870;
    both at once Ye et al. 2018, arXiv 1811.01907).

    W minimises loss + rho / 2 |W - Z + U|^2; every so often Z becomes the nearest to W + U that is as it is to be, and
    U grows by W - Z. Training moves W; `penalty` is the second term, `update` the second step.
    """

    def __init__(self, said: Mapping[str, Any], shape: tuple[int, int], gates: int) -> None:
        """UserError where `said` is wrong or does not fit a matrix of `shape` (out, in)."""
        self.options = read_admm(said)
        self._shape, self._gates = shape, gates
        with blaming("admm"):
            self._chain()
        self._timing = Timing(after_epoch=0, every=self.options.every)
        self.state: Tensor | None = None  # Z and U, [2, out, in]; what a checkpoint needs

    def due(self, epoch: int, step: int) -> bool:
        """Whether the target is found anew before step `step` of `epoch`, both counted from 0."""
        return self._timing.due(epoch, step)

    @torch.no_grad()
    def update(self, weight: Tensor, generator: torch.Generator) -> None:
        """Find the target for `weight` [out, in] as it is now; the first time without memory of it."""
        dual = torch.zeros_like(weight) if self.state is None else self.state[1]
        target = self.project(weight + dual, generator)
        # Nothing has been pulled towards the first target yet.
        self.state = torch.stack([target, dual if self.state is None else dual + weight - target])

    def project(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        """What `weight` [out, in] is pulled towards: the weights that are worth most, on the quantizer's grid."""
        chain = self._chain().to(weight.device)
        if chain.plan is not None:
            chain.mask.copy_(chain.plan.choose(weight.abs(), chain.gates, generator))
        return chain.press_matrix(weight)

    def _chain(self) -> Chain:
        """Without memory of targets before: levels and steps are those that fit the weights at hand."""
        return self.options.chain(self._shape, self._gates).eval()

    def penalty(self, weight: Tensor) -> Tensor:
        """rho / 2 |W - Z + U|^2, [], of `weight` [out, in], differentiable."""
        target, dual = self.state
        return 0.5 * self.options.rho * (weight - target + dual).square().sum()
