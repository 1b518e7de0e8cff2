"""Pressed weights: the dense parameter that trains, which the model sees only through its chain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from frenchpress.compress.activations import act_quantizer_of
from frenchpress.compress.admm import read_admm
from frenchpress.compress.chain import Chain
from frenchpress.compress.options import WeightPress
from frenchpress.compress.quantizers import BitQuantizer, quantizer_of
from frenchpress.compress.quantizers.grid import at_least_float32
from frenchpress.compress.sparsity import mask_plan_of, prune_plan_of
from frenchpress.compress.structure import Selection


class PressedWeight(Chain):
    """A matrix [out, in] with its chain, for layers that ask for the form that they compute with.

    The parameter `weight` is left uninitialised. `press`, `gates` and `generator` as in `Chain`.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        press: WeightPress,
        gates: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(shape, press, gates, generator)
        self.weight = nn.Parameter(torch.empty(shape))

    @property
    def device(self) -> torch.device:
        """Where the weight is."""
        return self.weight.device

    @torch.no_grad()
    def start(self, weight: Tensor) -> None:
        """Begin with the values of `weight` [out, in]."""
        self.weight.copy_(weight)

    def forward(self) -> Tensor:
        """The dense matrix [out, in] that the model multiplies with."""
        return self.press_matrix(self.weight)

    def compact(self, structure: Selection) -> Tensor:
        """The same weights as `forward`, in the compact form of `structure`, whose rows are rows of the matrix."""
        return self.press_selection(self.weight, structure)

    def integers(self) -> tuple[Tensor, Tensor]:
        """`(int64 [out, in], scale)`, zero where the mask removes; `integers * scale == forward()` to the bit."""
        return self.to_integers(self.weight)


class Parametrization(Chain):
    """The chain of a tensor of any module (torch.nn.utils.parametrize): rows are its first dimension.

    A convolution's weight [out, in, ...] is the matrix [out, in * ...], so that a scale per row is one per output
    channel. Half precision is computed in float32 and rounded in the end.
    """

    def forward(self, weight: Tensor) -> Tensor:
        """`weight` as the module sees it, in its own shape and dtype."""
        with torch.autocast(weight.device.type, enabled=False):
            pressed = self.press_matrix(at_least_float32(weight).flatten(1))
        return pressed.view(weight.shape).to(weight.dtype)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Assigning to the tensor sets the dense weight."""
        return weight


@dataclass(frozen=True)
class PressedTensor:
    """A dense parameter of a model under the `name` of what its chain presses."""

    name: str
    weight: nn.Parameter
    chain: Chain

    @property
    def matrix(self) -> Tensor:
        """The weight [out, in], half precision as float32; differentiable."""
        return at_least_float32(self.weight).flatten(1)

    @property
    def gradient(self) -> Tensor | None:
        """That of the weight, in the same form; None where it has none."""
        grad = self.weight.grad
        return None if grad is None else at_least_float32(grad).flatten(1)

    @property
    def integers(self) -> tuple[Tensor, Tensor]:
        """`(int64 [out, in], scale)` as the chain has them."""
        return self.chain.to_integers(self.matrix.detach())


def pressed_tensors(model: nn.Module) -> list[PressedTensor]:
    """What is pressed in `model`, in the order of its modules."""
    return list(_pressed(model))


def _pressed(model: nn.Module) -> Iterator[PressedTensor]:
    for name, module in model.named_modules():
        if isinstance(module, PressedWeight):
            yield PressedTensor(name, module.weight, module)
        elif parametrize.is_parametrized(module):
            for key, steps in module.parametrizations.items():
                if isinstance(steps[0], Chain):
                    yield PressedTensor(f"{name}.{key}".lstrip("."), steps.original, steps[0])


@contextmanager
def holding(model: nn.Module) -> Iterator[None]:
    """What an update inside does to weights that their quantizers hold (`held`) is undone: weight decay, momentum of
    earlier gradients, the gradient of a penalty.
    """
    all_held = [(p, p.chain.quantizer.held) for p in pressed_tensors(model)]
    before = [(p, held, p.weight.detach().clone()) for p, held in all_held if held is not None]
    yield
    with torch.no_grad():
        for p, held, weight in before:
            stays = held.expand(p.chain.shape).reshape(weight.shape)
            p.weight.copy_(torch.where(stays, weight, p.weight))


def check_weight_press(press: WeightPress) -> None:
    """UserError for a method or option that is wrong whatever the matrix's size."""
    quantizer_of(press), prune_plan_of(press, mask_plan_of(press)), act_quantizer_of(press)
    if press.admm is not None:
        read_admm(press.admm)


def learned_ranges(module: nn.Module) -> list[nn.Parameter]:
    """Step sizes and ranges that the quantizers in `module` learn, in the order of its modules."""
    quantizers = [m for m in module.modules() if isinstance(m, BitQuantizer)]
    return [p for q in quantizers for p in q.parameters()]
