"""What the optimizer updates, and at which rates."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from frenchpress.compress import PressedWeight, learned_ranges
from frenchpress.config import TrainConfig
from frenchpress.kernels import native
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


@torch.no_grad()
def decay_weights(model: AcousticModel, optimizer: Optimizer, decay: float) -> None:
    """Shrink the matrices' weights by `decay` times their rate (decoupled weight decay, Loshchilov & Hutter 2019,
    arXiv 1711.05101, alg. 2); norms, biases, step sizes and ranges are left alone.
    """
    matrices = {id(m.weight) for m in model.modules() if isinstance(m, PressedWeight)}
    for group in optimizer.param_groups:
        for p in group["params"]:
            if id(p) in matrices:
                p.mul_(1.0 - decay * group["lr"])


class CompiledRMSprop(torch.optim.RMSprop):
    """torch's RMSprop without momentum, by a compiled kernel: the same numbers to rounding, the same state.

    Weights, gradients and squares pass through memory once. Where masks keep gradients at zero torch spends five times
    as long on their roots as on others.
    """

    # As torch has them, without what imports its compiler before the first call: that takes as long as torch itself.
    add_param_group, zero_grad, state_dict, load_state_dict = map(
        inspect.unwrap,
        (Optimizer.add_param_group, Optimizer.zero_grad, Optimizer.state_dict, Optimizer.load_state_dict),
    )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update every parameter that has a gradient; float32 on the CPU."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state.update(step=torch.zeros(()), square_avg=torch.zeros_like(p))
                state["step"] += 1
                grad = p.grad.contiguous()
                native.rmsprop_step(p, grad, state["square_avg"], group["lr"], group["alpha"], group["eps"])


def _rmsprop(groups: list[dict[str, Any]], config: TrainConfig, on_cpu: bool) -> Optimizer:
    """Compiled where it can be."""
    compiled = native.library() is not None and on_cpu and not config.momentum
    kind = CompiledRMSprop if compiled else torch.optim.RMSprop
    return kind(groups, alpha=config.alpha, eps=config.eps, momentum=config.momentum)


Maker = Callable[[list[dict[str, Any]], TrainConfig, bool], Optimizer]
OPTIMIZERS: dict[str, Maker] = {"rmsprop": _rmsprop}
"""`train.optimizer` -> what makes it of parameter groups, the configuration, and whether the model is on a CPU."""


def make_optimizer(model: AcousticModel, config: TrainConfig) -> Optimizer:
    """The optimizer of `config` over `parameter_groups`."""
    on_cpu = model.input_mean.device.type == "cpu"
    return OPTIMIZERS[config.optimizer](parameter_groups(model, config), config, on_cpu)
