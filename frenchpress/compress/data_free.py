"""Before and after quantizing without training: rows of equal range, biases that undo the mean error, ranges from
batch norm (Nagel et al. 2019, arXiv 1906.04721).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from frenchpress.common import UserError, unknown
from frenchpress.compress.activations import FixedActQuantizer
from frenchpress.compress.hooks import INPUT

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_ROUNDS = 100


@torch.no_grad()
def equalize(model: nn.Module, pairs: Sequence[tuple[str, str]]) -> nn.Module:
    """Give the outputs of each first layer and the columns of the second one that read them equal ranges (ibid., eq. 9
    to 11), in place: the same function, with rows of about equal size, for one scale per matrix.

    `pairs`: names of `Linear` or ungrouped convolutions with nothing between them but what lets a positive factor pass,
    a ReLU; fold a batch norm before. Rounds go on until nothing changes. To be called before `press`. UserError for
    other modules, and where the second has not one column for each output of the first.
    """
    layers = [(_layer(model, first), _layer(model, second)) for first, second in pairs]
    for (one, two), names in zip(layers, pairs):
        if one.weight.shape[0] != two.weight.shape[1]:
            raise UserError(
                f"equalize: {names[0]} gives {one.weight.shape[0]} outputs, {names[1]} reads {two.weight.shape[1]}"
            )
    for _ in range(_ROUNDS):
        if max((_equalize(one, two) for one, two in layers), default=0.0) < 1e-3:
            break
    return model


def _equalize(one: Any, two: Any) -> float:
    """One step of a pair; by how much of itself a row changed at most."""
    given, taken = one.weight.abs().flatten(1).amax(1), two.weight.abs().transpose(0, 1).flatten(1).amax(1)
    factor = torch.where((given > 0) & (taken > 0), (given / taken).sqrt(), torch.ones_like(given))
    one.weight.div_(_along(factor, one.weight, 0))
    if one.bias is not None:
        one.bias.div_(factor)
    two.weight.mul_(_along(factor, two.weight, 1))
    return float((factor - 1).abs().amax())


def input_means(model: nn.Module, batches: Iterable[Any]) -> dict[str, Tensor]:
    """Mean input of every feature of each pressed layer of `model`, in evaluation, over `batches` of its arguments."""
    sums: dict[str, tuple[Tensor, int]] = {}

    def add(name: str, x: Tensor, features: int) -> None:
        flat = x.detach().movedim(features, -1).reshape(-1, x.shape[features]).double()
        total, count = sums.get(name, (0.0, 0))
        sums[name] = total + flat.sum(0), count + len(flat)

    handles = []
    for name, layer in _pressed_layers(model):
        place = -1 if isinstance(layer, nn.Linear) else 1
        handles.append(layer.register_forward_pre_hook(lambda _, given, n=name, p=place: add(n, given[0], p)))
    training = model.training
    model.eval()
    with torch.no_grad():
        for batch in batches:
            model(*batch) if isinstance(batch, (tuple, list)) else model(batch)
    model.train(training)
    for handle in handles:
        handle.remove()
    return {name: total / count for name, (total, count) in sums.items()}


@torch.no_grad()
def norm_means(model: nn.Module, norms: Mapping[str, str], relu: bool = True) -> dict[str, Tensor]:
    """The same without data, for layers behind a batch norm: `norms` has its name for the name of each layer.

    A feature is normal with the norm's bias as mean and its gain as deviation; `relu`: cut off below zero (ibid.,
    sec. 4.2.1 and appendix C). UserError where there is no batch norm.
    """
    found = {}
    for name, norm in _norms(model, norms):
        mean, deviation = norm.bias.double(), norm.weight.double().abs().clamp(min=1e-12)
        normal = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
        place = mean / deviation
        cut = deviation * normal.log_prob(place).exp() + mean * normal.cdf(place)
        found[name] = cut if relu else mean
    return found


@torch.no_grad()
def correct_bias(model: nn.Module, means: Mapping[str, Tensor]) -> nn.Module:
    """Take from the biases of a pressed `model` what its quantized weights add to the mean of each output, in place:
    the change of the weights times the mean input (ibid., eq. 17).

    `means` by layer, as `input_means` or `norm_means` gives them. UserError for a layer that is not pressed, or without
    bias.
    """
    layers = dict(_pressed_layers(model))
    for name, mean in means.items():
        if name not in layers:
            raise UserError(f"correct_bias: {unknown(name, layers, 'pressed layer ')}")
        layer = layers[name]
        if layer.bias is None:
            raise UserError(f"correct_bias: {name} has no bias")
        change = (layer.weight - layer.parametrizations.weight.original).double()
        by_input = change.flatten(2).sum(2) if change.dim() > 2 else change  # [out, in / groups]
        groups = getattr(layer, "groups", 1)
        moved = torch.bmm(by_input.unflatten(0, (groups, -1)), mean.double().view(groups, -1, 1))
        layer.bias -= moved.flatten().to(layer.bias.dtype)
    return model


@torch.no_grad()
def norm_ranges(model: nn.Module, norms: Mapping[str, str], deviations: float = 6.0) -> nn.Module:
    """Set the range of the input of pressed layers behind a batch norm without data, in place: the largest |bias| +
    `deviations` gains of its features (ibid., sec. 4.2.1). `norms` as in `norm_means`; for `act_quantizer: fixed`.
    """
    for name, norm in _norms(model, norms):
        quantizer = getattr(model.get_submodule(name), INPUT, None)
        if not isinstance(quantizer, FixedActQuantizer):
            raise UserError(f"norm_ranges: {name}: its input is not quantized by act_quantizer: fixed")
        quantizer.limit.copy_((norm.bias.abs() + deviations * norm.weight.abs()).amax())
        quantizer.seen.fill_(quantizer.batches)
    return model


def _along(factor: Tensor, weight: Tensor, dim: int) -> Tensor:
    return factor.view([-1 if d == dim else 1 for d in range(weight.dim())])


def _named(model: nn.Module, name: str, what: str) -> nn.Module:
    modules = dict(model.named_modules())
    if name not in modules:
        raise UserError(f"{what}: {unknown(name, [n for n in modules if n], 'module ')}")
    return modules[name]


def _layer(model: nn.Module, name: str) -> nn.Module:
    layer = _named(model, name, "equalize")
    if not isinstance(layer, _LAYERS) or getattr(layer, "groups", 1) != 1 or parametrize.is_parametrized(layer):
        raise UserError(f"equalize: {name}: expected a Linear or a convolution of one group that is not pressed yet")
    return layer


def _norms(model: nn.Module, norms: Mapping[str, str]) -> Iterator[tuple[str, nn.Module]]:
    if not norms:
        raise UserError("norms: names no layer behind a batch norm; without one there is nothing to tell ranges from")
    for layer, name in norms.items():
        norm = _named(model, name, "norms")
        if not isinstance(norm, _NORMS) or norm.weight is None:
            raise UserError(f"norms: {layer}: {name} is no batch norm with gain and bias; without one data is needed")
        yield layer, norm


def _pressed_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        if isinstance(module, _LAYERS) and parametrize.is_parametrized(module, "weight"):
            yield name, module
