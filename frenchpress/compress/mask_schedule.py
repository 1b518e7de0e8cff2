"""Masks, quantized shares and penalties that change while a model trains: the trainer says where it stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from frenchpress.common import UserError, blaming
from frenchpress.compress.admm import Admm
from frenchpress.compress.chain import Chain
from frenchpress.compress.criteria import CRITERIA
from frenchpress.compress.penalty import group_lasso
from frenchpress.compress.sparsity import DynamicMask, MaskPlan
from frenchpress.compress.weight import PressedTensor, pressed_tensors


class Linked(Protocol):
    """Masks of several matrices that are chosen at once, for methods that are `linked`."""

    plan: MaskPlan

    def choose(self, progress: float, score_of: Callable[[Chain], Tensor]) -> None:
        """Set the masks. `score_of`: what each weight of a matrix is worth, [out, in]."""


class MaskSchedule:
    """The masks of `model` that have a time. What their criteria have seen is to be stored; everything else follows
    from model, seed, epoch and step.

    The trainer calls `before_step` before each forward pass and `after_backward` before each update of the weights.
    """

    def __init__(self, model: nn.Module, seed: int = 0, units: Sequence[Linked] = (), given: bool = False) -> None:
        """`units`: masks of `model` that are chosen at once; its weights are where training starts. `given`: masks have
        been chosen elsewhere, and none changes.
        """
        self.seed, self._given, self._pressed = seed, given, pressed_tensors(model)
        self._units = () if given else units
        # The place among all matrices, so that what is done to one leaves what another draws alone.
        timed = [(i, p) for i, p in enumerate(self._pressed) if p.chain.plan and p.chain.plan.timing]
        self._timed = [] if given else timed
        self._growing = [p for p in self._pressed if p.chain.quantizer.settled_from is not None]
        self._criteria = {p.chain: CRITERIA[p.chain.plan.score](p.matrix.detach()) for _, p in self._timed}
        self._weights = {p.chain: p for p in self._pressed}
        self._pulled = [(i, p, _admm(p)) for i, p in enumerate(self._pressed) if p.chain.press.admm is not None]
        self._where = (0, 0, 1)

    @property
    def density(self) -> float | None:
        """Kept over all weights of all matrices as they stand; None where no mask has a time."""
        if not self._timed:
            return None
        kept = sum(p.chain.density * p.weight.numel() for p in self._pressed)
        return kept / sum(p.weight.numel() for p in self._pressed)

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint needs: what the criteria have seen, and the targets of ADMM, by matrix."""
        states = {p.name: self._criteria[p.chain].state for _, p in self._timed}
        states |= {f"{p.name}.admm": admm.state for _, p, admm in self._pulled}
        return {name: state for name, state in states.items() if state is not None}

    def load_state_dict(self, states: Mapping[str, Tensor]) -> None:
        """Go on from what a checkpoint has."""
        for _, p in self._timed:
            if p.name in states:
                self._criteria[p.chain].state = states[p.name].to(p.weight.device)
        for _, p, admm in self._pulled:
            if f"{p.name}.admm" in states:
                admm.state = states[f"{p.name}.admm"].to(p.weight.device)

    def check(self, epochs: int) -> None:
        """UserError where a mask would not be as asked for during the last one of `epochs`, or a penalty nothing."""
        self._check_penalties(epochs)
        for _, p in self._timed:
            plan = p.chain.plan
            if plan.timing.last >= max(1, epochs):  # without any, it is chosen before a first step all the same
                raise UserError(
                    f"{p.name}: mask: {plan.name}: {plan.timing.last_key}: {plan.timing.last} of {epochs} epochs; at "
                    "least one must be left to train with the mask"
                )

        for p in self._growing:
            last = p.chain.quantizer.settled_from
            if last >= epochs:
                raise UserError(
                    f"{p.name}: quantizer: {p.chain.press.quantizer}: quantizes its last weights after epoch {last} of "
                    f"{epochs}; at least one must be left to train with them"
                )
            plan = p.chain.plan
            if plan is not None and plan.method.regrows and not self._given and plan.timing.last > last:
                raise UserError(
                    f"{p.name}: mask: {plan.name}: {plan.timing.last_key}: {plan.timing.last}: weights that come back "
                    f"after epoch {last} are fixed by quantizer: {p.chain.press.quantizer} already; end by then"
                )

    def _check_penalties(self, epochs: int) -> None:
        for _, p, _ in self._pulled if not epochs else ():
            raise UserError(f"{p.name}: admm: pulls while training goes on, and there are no epochs; leave it out")
        for p in self._pressed if self._given else ():
            if p.chain.plan is not None and p.chain.plan.lasso:
                raise UserError(f"{p.name}: mask: lasso: prepares the choice of a mask, which is given; leave it out")

    def before_step(self, epoch: int, step: int, steps: int) -> None:
        """Set what is due before step `step` of the `steps` of `epoch`, both counted from 0."""
        self._where = (epoch, step, steps)
        for index, p in self._due():
            if isinstance(p.chain.plan.method, DynamicMask):
                p.chain.probing = True
            else:
                self._choose(index, p, self._progress(p.chain.plan))
        for unit in self._units:
            if unit.plan.timing.due(epoch, step):
                unit.choose(self._progress(unit.plan), self._score)
        for index, p, admm in self._pulled:
            if admm.due(epoch, step):
                admm.update(p.matrix.detach(), self._generator(index))
        for p in self._growing:
            mask = p.chain.full_mask()
            p.chain.quantizer.before_step(p.matrix.detach() * (1 if mask is None else mask), epoch, step)

    def after_backward(self) -> None:
        """Show the criteria the gradients; drop and regrow where those of removed weights were looked at."""
        for _, p in self._timed:
            criterion = self._criteria[p.chain]
            if criterion.observes and p.gradient is not None and p.chain.plan.timing.chooses_after(self._where[0]):
                criterion.observe(p.matrix.detach(), p.gradient, p.chain.full_mask())
        for index, p in self._due():
            if p.chain.probing:
                plan = p.chain.plan
                if p.gradient is not None:
                    _regrow(p, self._score(p.chain), self._progress(plan), self._generator(index))
                p.chain.probing = False

    def settled(self, epoch: int) -> bool:
        """Whether all of `epoch` (counted from 0) is trained at the density asked for, all weights quantized."""
        plans = [p.chain.plan for _, p in self._timed]
        grown = all(epoch >= p.chain.quantizer.settled_from for p in self._growing)
        return grown and all(plan.method.regrows or epoch >= plan.timing.last for plan in plans)

    def thinned(self, epoch: int) -> bool:
        """Whether a density falls, or weights are quantized, in `epoch` or at its start, so that its error says nothing
        about the rates.
        """
        spans = [p.chain.plan.timing for _, p in self._timed if not p.chain.plan.method.regrows]
        growing = any(epoch <= p.chain.quantizer.settled_from for p in self._growing)
        return growing or any(t.first <= epoch <= t.last for t in spans)

    def penalty(self) -> Tensor | None:
        """What is added to the loss at the step announced, float32 []; None where nothing is asked for."""
        due = [(p, p.chain.plan) for _, p in self._timed]
        terms = [
            plan.lasso * group_lasso(p.matrix, p.chain)
            for p, plan in due
            if plan.lasso and self._where[0] < plan.timing.last
        ]
        terms += [admm.penalty(p.matrix) for _, p, admm in self._pulled]
        return torch.stack(terms).sum() if terms else None

    @torch.no_grad()
    def finish(self) -> None:
        """Bring all masks to their densities at once, to see what they come to."""
        for index, p in self._timed:
            if not p.chain.plan.method.regrows:
                self._choose(index, p, 1.0)
        for unit in self._units:
            unit.choose(1.0, self._score)

    def _choose(self, index: int, p: PressedTensor, progress: float) -> None:
        chain, plan = p.chain, p.chain.plan
        if not plan.method.linked:
            score, generator = self._score(chain), self._generator(index)
            chain.mask.copy_(plan.choose(score, chain.gates, generator, progress, chain.within))

    def _score(self, chain: Chain) -> Tensor:
        return self._criteria[chain].score(self._weights[chain].matrix)

    def _due(self) -> Iterator[tuple[int, PressedTensor]]:
        epoch, step, _ = self._where
        return ((i, p) for i, p in self._timed if p.chain.plan.timing.due(epoch, step))

    def _progress(self, plan: MaskPlan) -> float:
        return plan.timing.progress(*self._where)

    def _generator(self, index: int) -> torch.Generator:
        """Of one matrix at one time, so that a run that goes on after an interruption draws the same."""
        state = np.random.SeedSequence([self.seed, index, *self._where[:2]]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0] >> 1))


def _admm(p: PressedTensor) -> Admm:
    """UserError, naming the matrix, where what is said does not fit it."""
    with blaming(p.name):
        return Admm(p.chain.press.admm, p.chain.shape, p.chain.gates)


@torch.no_grad()
def _regrow(p: PressedTensor, score: Tensor, progress: float, generator: torch.Generator) -> None:
    """One update of a dynamic mask, from the gradient of all weights; only kept weights have one afterwards."""
    chain, plan, old = p.chain, p.chain.plan, p.chain.full_mask()
    share = 0.5 * (1.0 + math.cos(math.pi * progress))
    masks = chain.mask.cpu().split(chain.shape[0] // chain.gates)
    scores = zip(masks, plan.split(score, chain.gates), plan.split(p.gradient, chain.gates))
    chain.mask.copy_(torch.cat([plan.method.step(*parts, share, generator) for parts in scores]))
    # What is removed and what is new stands at zero.
    both = (chain.full_mask() & old).view(p.weight.shape)
    p.weight.mul_(both)
    p.weight.grad.mul_(both)
