"""A running average of a model's weights, which stands still where the weights themselves jump about."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from frenchpress.compress import BitQuantizer


class AveragedModel:
    """Exponential average of all that `model` has learnt (Polyak & Juditsky 1992; Tarvainen & Valpola 2017, eq. 1).

    `model` in here is the average: weights, batch-norm statistics, step sizes and ranges that are learned; what a
    quantizer counts or finds, masks and counters are as they are now. `decay`: what the average
    keeps at each step; in the first steps less, so that the start is forgotten: min(decay, (1 + n) / (10 + n)).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay, self.steps = copy.deepcopy(model), decay, 0
        quantizers = [(name, m) for name, m in model.named_modules() if isinstance(m, BitQuantizer)]
        self._found = {f"{name}.{key}" for name, quantizer in quantizers for key, _ in quantizer.named_buffers()}

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
        news = model.state_dict()
        for name, mean in self.model.state_dict().items():
            if mean.is_floating_point() and name not in self._found:
                mean.lerp_(news[name], weight)
            else:
                mean.copy_(news[name])
