"""The `mask:` section of a layer: which method, when, and the penalty that prepares it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from frenchpress.common import UserError, blaming, unknown
from frenchpress.compress.criteria import CRITERIA
from frenchpress.compress.options import read_method_options
from frenchpress.compress.sparsity.base import OUTSIDE, MaskMethod
from frenchpress.compress.sparsity.timing import Timing


@dataclass(frozen=True)
class MaskPlan:
    """`timing`: None for a mask that is fixed from the start. `lasso`: weight of the penalty until it is chosen.
    `score`: name of the criterion that it is chosen by. `targeted`: on the way, what is not to be kept is removed at
    random, with a probability that rises to one.
    """

    name: str
    method: MaskMethod
    timing: Timing | None = None
    lasso: float = 0.0
    score: str = "magnitude"
    targeted: bool = False

    def parts(self, gates: int) -> int:
        """Number of different masks of `gates` stacked matrices."""
        return 1 if self.method.share_gates else gates

    def first_mask(self, shape: tuple[int, int], gates: int, generator: torch.Generator | None) -> Tensor:
        """What training starts with, bool [out, in], or [out / gates, in] if shared: all True where weights decide.

        UserError where the options do not fit the shape, whenever the mask is to be chosen.
        """
        one = (shape[0] // gates, shape[1])
        with blaming(f"mask: {self.name}"):
            self.method.check(one)
        if not self.method.by_weight:
            return torch.cat([self.method.make(one, generator) for _ in range(self.parts(gates))])
        return torch.ones(self.parts(gates) * one[0], one[1], dtype=torch.bool)

    def choose(
        self,
        score: Tensor,
        gates: int,
        generator: torch.Generator,
        progress: float = 1.0,
        within: Tensor | None = None,
    ) -> Tensor:
        """The mask by `score` [out, in], what each weight is worth, on the CPU; `progress` as `Timing` has it.

        `within`, bool [out, in]: what it is chosen from, for a method of single weights that gates do not share.
        """
        scores = self.split(score, gates)
        if within is not None:
            outside = ~within.cpu().view(gates, -1, within.shape[1])
            scores = [score.masked_fill(out, OUTSIDE) for score, out in zip(scores, outside)]
        whole = progress >= 1 or self.targeted
        method = self.method if whole else self.method.at(self.density_at(progress))
        mask = torch.cat([method.make(tuple(score.shape), generator, score) for score in scores])
        if self.targeted and progress < 1:  # targeted dropout (Gomez et al. 2019, arXiv 1905.13678, sec. 4)
            mask |= torch.rand(mask.shape, generator=generator) >= progress
        return mask

    def split(self, values: Tensor, gates: int) -> list[Tensor]:
        """Magnitudes of `values` [out, in], one tensor for each mask: the mean over the gates that share it."""
        gate = values.detach().abs().float().cpu().view(gates, -1, values.shape[1])
        return [gate.mean(0)] if self.parts(gates) == 1 else list(gate)

    def density_at(self, progress: float) -> float:
        """Zhu & Gupta 2017 (arXiv 1710.01878), eq. 1, from dense on: d + (1 - d) (1 - progress)^3."""
        final = self.method.asked_density
        return final + (1.0 - final) * (1.0 - progress) ** 3


def read_plan(said: Mapping[str, Any], methods: Mapping[str, type[MaskMethod]]) -> MaskPlan:
    """The plan of a `mask:` section; UserError for what is unknown, missing, impossible or would do nothing."""
    values = {key: value for key, value in said.items() if value is not None}
    name = values.pop("method", None)
    if name is None:
        raise UserError(f"mask: method is missing; use one of {', '.join(methods)}")
    if not isinstance(name, str) or name not in methods:
        raise UserError(f"mask.method: {unknown(name, methods)}")
    return make_plan(name, methods[name], values, f"mask: {name}")


def make_plan(name: str, kind: type[MaskMethod], values: dict[str, Any], where: str) -> MaskPlan:
    """The plan of a method from its options, timing and lasso; UserError, which begins with `where`, as above."""
    known = [f.name for part in (kind, Timing, _Choice) for f in fields(part)]
    for key in values:
        if key not in known:
            raise UserError(f"{where}: {unknown(key, known, 'option ')}")
    timing = {f.name: values.pop(f.name) for f in fields(Timing) if f.name in values}
    choice = {f.name: values.pop(f.name) for f in fields(_Choice) if f.name in values}
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.name not in values]
    method = None if needed else read_method_options(kind, values, where)
    if method is None:
        raise UserError(f"{where}: {needed[0]} is missing; it takes {', '.join(f.name for f in fields(kind))}")
    when = read_method_options(Timing, timing, where) if timing else None
    plan = MaskPlan(name, method, when, **vars(read_method_options(_Choice, choice, where)))
    _check_timing(plan, where)
    return plan


@dataclass(frozen=True)
class _Choice:
    """What any method that chooses can be told about how."""

    lasso: float = 0.0
    score: str = "magnitude"
    targeted: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.lasso < float("inf"):
            raise UserError(f"lasso: {self.lasso} is out of range; it must be at least 0")
        if self.score not in CRITERIA:
            raise UserError(f"score: {unknown(self.score, CRITERIA)}")


def _check_timing(plan: MaskPlan, where: str) -> None:
    """UserError where the method needs another timing, or a lasso has nothing to prepare."""
    method, timing = plan.method, plan.timing
    if timing is None and (method.by_weight or method.regrows):
        wanted = "start_epoch and end_epoch" if method.regrows else "after_epoch"
        raise UserError(f"{where}: it goes by the weights; say when, with {wanted}")
    if timing is not None and not (method.by_weight or method.regrows):
        raise UserError(f"{where}: random and fixed before training; a time would do nothing")
    if timing is not None and timing.after_epoch is None and not (method.gradual or method.regrows or plan.targeted):
        raise UserError(f"{where}: cannot be reached gradually; use after_epoch")
    if timing is not None and timing.after_epoch is not None and method.regrows:
        raise UserError(f"{where}: changes over a time; use start_epoch and end_epoch")
    if plan.lasso and not method.by_weight:
        raise UserError(f"{where}: lasso: prepares a choice by magnitude, and there is none")
    _check_choice(plan, where)
    if plan.lasso and timing is not None and not timing.last:
        raise UserError(f"{where}: lasso: acts until the mask is chosen, which is before the first step")


def _check_choice(plan: MaskPlan, where: str) -> None:
    """UserError where a criterion has nothing to choose or to look at, or `targeted` no time to act in."""
    method, timing = plan.method, plan.timing
    if plan.score != "magnitude" and not (method.by_weight or method.regrows):
        raise UserError(f"{where}: score: nothing is chosen here; leave it out")
    if CRITERIA[plan.score].observes and timing is not None and not timing.last:
        raise UserError(
            f"{where}: score: {plan.score} goes by gradients, and chooses before the first step; choose later"
        )
    if plan.targeted and (timing is None or timing.after_epoch is not None or method.regrows):
        raise UserError(f"{where}: targeted: acts between start_epoch and end_epoch of a mask that goes by weights")
