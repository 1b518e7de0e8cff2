"""A running average of a model's weights, which stands still where the weights themselves jump about."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class AveragedModel:
    """Exponential average of all that `model` has learnt (Polyak & Juditsky 1992; Tarvainen & Valpola 2017, eq. 1).

    `model` in here is the average: weights, batch-norm statistics, step sizes and ranges. `decay`: what the average
    keeps at each step; in the first steps less, so that the start is forgotten: min(decay, (1 + n) / (10 + n)).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay, self.steps = copy.deepcopy(model), decay, 0

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        return {"model": self.model.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what a checkpoint has."""
        self.model.load_state_dict(state["model"])
        self.steps = state["steps"]

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model as it is after a step."""
        self.steps += 1
        weight = 1.0 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        for mean, new in zip(self.model.state_dict().values(), model.state_dict().values()):
            if mean.is_floating_point():
                mean.lerp_(new, weight)
            elif mean.numel() == 1 or mean.dtype == torch.bool:  # counters and masks
                mean.copy_(new)
