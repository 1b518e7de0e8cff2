"""Masks that change while a model trains: the trainer says where it stands, this sets them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.compress.criteria import CRITERIA
from frenchpress.compress.penalty import group_lasso
from frenchpress.compress.sparsity import DynamicMask, MaskPlan
from frenchpress.compress.units import Units, is_cell_plan
from frenchpress.compress.weight import PressedWeight


class MaskSchedule:
    """The masks of `model` that have a time. What their criteria have seen is to be stored; everything else follows
    from model, seed, epoch and step.

    The trainer calls `before_step` before each forward pass and `after_backward` before each update of the weights.
    """

    def __init__(self, model: nn.Module, seed: int = 0, units: Sequence[Units] = ()) -> None:
        """`units` of `model` that are removed as such; its weights are where training starts."""
        self.seed, self._units = seed, units
        found = [(name, m) for name, m in model.named_modules() if isinstance(m, PressedWeight)]
        timed = [(i, name, m) for i, (name, m) in enumerate(found) if m.plan is not None and m.plan.timing is not None]
        # The place among all matrices, so that what is done to one leaves what another draws alone.
        self._places, self._names, self._timed = ([entry[k] for entry in timed] for k in range(3))
        self._matrices = [matrix for _, matrix in found]
        self._criteria = {id(m): CRITERIA[m.plan.score](m.weight) for m in self._timed}
        self._where = (0, 0, 1)

    @property
    def density(self) -> float | None:
        """Kept over all weights of all matrices as they stand; None where no mask has a time."""
        if not self._timed:
            return None
        return sum(m.density * m.weight.numel() for m in self._matrices) / sum(m.weight.numel() for m in self._matrices)

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint needs: what the criteria have seen, by matrix."""
        states = {name: self._criteria[id(m)].state for name, m in zip(self._names, self._timed)}
        return {name: state for name, state in states.items() if state is not None}

    def load_state_dict(self, states: Mapping[str, Tensor]) -> None:
        """Go on from what a checkpoint has."""
        for name, matrix in zip(self._names, self._timed):
            if name in states:
                self._criteria[id(matrix)].state = states[name].to(matrix.weight.device)

    def check(self, epochs: int) -> None:
        """UserError where a mask would not be as asked for during the last one of `epochs`."""
        for name, matrix in zip(self._names, self._timed):
            if matrix.plan.timing.last >= max(1, epochs):  # without any, it is chosen before a first step all the same
                raise UserError(
                    f"{name}: mask: {matrix.plan.name}: is as asked for after epoch {matrix.plan.timing.last} of "
                    f"{epochs}; at least one must be left to train with it"
                )

    def before_step(self, epoch: int, step: int, steps: int) -> None:
        """Set what is due before step `step` of the `steps` of `epoch`, both counted from 0."""
        self._where = (epoch, step, steps)
        for index, matrix in self._due():
            if isinstance(matrix.plan.method, DynamicMask):
                matrix.probing = True
            else:
                self._choose(index, matrix, self._progress(matrix.plan))
        for unit in self._units:
            if unit.plan.timing.due(epoch, step):
                unit.choose(self._progress(unit.plan), self._score)

    def after_backward(self) -> None:
        """Show the criteria the gradients; drop and regrow where those of removed weights were looked at."""
        for matrix in self._timed:
            criterion = self._criteria[id(matrix)]
            if criterion.observes and self._where[0] < matrix.plan.timing.last:
                criterion.observe(matrix.weight, matrix.weight.grad, matrix.full_mask())
        for index, matrix in self._due():
            if matrix.probing:
                _regrow(matrix, self._score(matrix), self._progress(matrix.plan), self._generator(index))
                matrix.probing = False

    def settled(self, epoch: int) -> bool:
        """Whether all of `epoch` (counted from 0) is trained at the density asked for."""
        return all(m.plan.method.regrows or epoch >= m.plan.timing.last for m in self._timed)

    def thinned(self, epoch: int) -> bool:
        """Whether a density falls in `epoch` or at its start, so that its error says nothing about the rates."""
        spans = [m.plan.timing for m in self._timed if not m.plan.method.regrows]
        return any(t.first <= epoch <= t.last for t in spans)

    def penalty(self) -> Tensor | None:
        """What is added to the loss at the step announced, float32 []; None where nothing is asked for."""
        terms = [
            m.plan.lasso * group_lasso(m) for m in self._timed if m.plan.lasso and self._where[0] < m.plan.timing.last
        ]
        return torch.stack(terms).sum() if terms else None

    @torch.no_grad()
    def finish(self) -> None:
        """Bring all masks to their densities at once, to see what they come to."""
        for index, matrix in zip(self._places, self._timed):
            if not matrix.plan.method.regrows:
                self._choose(index, matrix, 1.0)
        for unit in self._units:
            unit.choose(1.0, self._score)

    def _choose(self, index: int, matrix: PressedWeight, progress: float) -> None:
        if not is_cell_plan(matrix.plan):
            generator = self._generator(index)
            score = self._score(matrix)
            matrix.mask.copy_(matrix.plan.choose(score, matrix.gates, generator, progress, matrix.within))

    def _score(self, matrix: PressedWeight) -> Tensor:
        return self._criteria[id(matrix)].score(matrix.weight)

    def _due(self) -> Iterator[tuple[int, PressedWeight]]:
        epoch, step, _ = self._where
        return ((i, m) for i, m in zip(self._places, self._timed) if m.plan.timing.due(epoch, step))

    def _progress(self, plan: MaskPlan) -> float:
        return plan.timing.progress(*self._where)

    def _generator(self, index: int) -> torch.Generator:
        """Of one matrix at one time, so that a run that goes on after an interruption draws the same."""
        state = np.random.SeedSequence([self.seed, index, *self._where[:2]]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0] >> 1))


@torch.no_grad()
def _regrow(matrix: PressedWeight, score: Tensor, progress: float, generator: torch.Generator) -> None:
    """One update of a dynamic mask, from the gradient of all weights; only kept weights have one afterwards."""
    plan, gradient, old = matrix.plan, matrix.weight.grad, matrix.full_mask()
    share = 0.5 * (1.0 + math.cos(math.pi * progress))
    masks = matrix.mask.cpu().split(matrix.shape[0] // matrix.gates)
    scores = zip(masks, plan.split(score, matrix.gates), plan.split(gradient, matrix.gates))
    matrix.mask.copy_(torch.cat([plan.method.step(*parts, share, generator) for parts in scores]))
    both = matrix.full_mask() & old
    # What is removed and what is new stands at zero.
    matrix.weight.mul_(both)
    gradient.mul_(both)
