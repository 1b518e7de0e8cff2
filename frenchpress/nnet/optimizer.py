"""What the optimizer updates, and at which rates."""

from __future__ import annotations

from typing import Any

import torch

from frenchpress.compress import learned_ranges
from frenchpress.config import TrainConfig
from frenchpress.nnet.model import AcousticModel

# RMSprop moves every parameter by about its rate, whatever the size of the gradient; a step size is of the order of a
# tenth of a weight, and would be thrown about at the rate of the weights.
RANGE_RATE = 0.1


def parameter_groups(model: AcousticModel, config: TrainConfig) -> list[dict[str, Any]]:
    """The optimizer's groups with their first rates: one for the LSTM layers and one for each head, then one for the
    step sizes and ranges that each of these learns, where it does.
    """
    rates = (config.lr.lstm, config.lr.head_cd, config.lr.head_mono)
    weights, ranges = [], []
    for part, rate in zip((model.lstm, model.head_cd, model.head_mono), rates):
        learned = learned_ranges(part)
        names = {id(p) for p in learned}
        weights.append({"params": [p for p in part.parameters() if id(p) not in names], "lr": rate})
        if learned:
            ranges.append({"params": learned, "lr": rate * RANGE_RATE})
    return weights + ranges


def make_optimizer(model: AcousticModel, config: TrainConfig) -> torch.optim.Optimizer:
    """RMSprop over `parameter_groups`."""
    groups = parameter_groups(model, config)
    return torch.optim.RMSprop(groups, alpha=config.alpha, eps=config.eps, momentum=config.momentum)
