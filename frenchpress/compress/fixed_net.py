"""A whole net in fixed point, with a power of two as step for each tensor (after the layers of nics_fix): weights,
biases, inputs and gradients of every layer, each `auto`, `fixed` or `none`; its table; and the bits that its sums need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn
from torch.nn.utils import parametrize

from frenchpress.common import UserError, atomic_path, blaming, read_yaml, unknown
from frenchpress.compress.hooks import INPUT, OUTPUT, hook_input, hook_output
from frenchpress.compress.options import read_method_options
from frenchpress.compress.quantizers import largest_integer, straight_through, to_grid
from frenchpress.compress.quantizers.shifted import power_step

PARTS = ("weight", "bias", "input", "gradient")
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class FixedPoint:
    """Of one tensor. `method`: `auto`, the step is the smallest 2^exponent with which the tensor fits; `fixed`, it is
    the one given; `none`, float. `exponent`: with `auto` the last one found.
    """

    method: str = "auto"
    bits: int = 8
    exponent: int | None = None

    def __post_init__(self) -> None:
        if self.method not in ("auto", "fixed", "none"):
            raise UserError(f"method: {unknown(self.method, ('auto', 'fixed', 'none'))}")
        if not 2 <= self.bits <= 24:
            raise UserError(f"bits: {self.bits} is out of range; it must be 2 to 24")
        if self.method == "fixed" and self.exponent is None:
            raise UserError("method: fixed needs an exponent, such as exponent: -6")


Table = dict[str, dict[str, FixedPoint]]
"""What is said of each of `PARTS`, by the name of its layer."""


class FixedGrid(nn.Module):
    """Rounds a tensor to fixed point; gradient straight through inside the range, zero outside.

    With `auto` the step is found anew in every call while training, and where `always` in evaluation too.
    """

    def __init__(self, fixed: FixedPoint, always: bool = False) -> None:
        super().__init__()
        self.fixed, self.always = fixed, always
        self.register_buffer("exponent", torch.tensor(fixed.exponent or 0))
        self.register_buffer("known", torch.tensor(fixed.exponent is not None))

    @property
    def now(self) -> FixedPoint:
        """As said, with the exponent as found."""
        found = self.fixed.method != "none" and bool(self.known)
        return replace(self.fixed, exponent=int(self.exponent)) if found else self.fixed

    def forward(self, x: Tensor) -> Tensor:
        """`x` on the grid, same shape and dtype."""
        if self.fixed.method == "none":
            return x
        with torch.no_grad():
            top = largest_integer(self.fixed.bits)
            if self.fixed.method == "auto" and (self.training or self.always or not self.known):
                step = power_step(x.abs().amax() if x.numel() else x.new_ones(()), top)
                self.exponent.copy_(step.log2().round().long()), self.known.fill_(True)
            step = torch.exp2(self.exponent.to(x.dtype))
            on_grid, inside = to_grid(x, step, self.fixed.bits).mul_(step), x.abs() <= top * step
        return straight_through(x, on_grid, inside)


class _OfGradient(torch.autograd.Function):
    """The same forward; backward the gradient on a grid."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: FixedGrid) -> Tensor:
        ctx.grid = grid
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.grid(grads[0]), None


class GradientGrid(nn.Module):
    """Lets what comes through it pass, and rounds its gradient by `grid`."""

    def __init__(self, fixed: FixedPoint) -> None:
        super().__init__()
        self.grid = FixedGrid(fixed)

    def forward(self, x: Tensor) -> Tensor:
        """`x`."""
        return x if self.grid.fixed.method == "none" else _OfGradient.apply(x, self.grid)


def fixed_table(
    model: nn.Module, weight: int | None = 8, bias: int | None = 16, input: int | None = 8, gradient: int | None = None
) -> Table:
    """A table that says `auto` with so many bits for every `Linear` and convolution of `model`; None: `none`."""
    bits = {"weight": weight, "bias": bias, "input": input, "gradient": gradient}
    parts = {part: FixedPoint("none") if b is None else FixedPoint("auto", b) for part, b in bits.items()}
    return {name: dict(parts) for name, _ in _layers(model)}


def use_fixed_point(model: nn.Module, table: Mapping[str, Mapping[str, FixedPoint]]) -> nn.Module:
    """Compute `model`, in place, as `table` says; what it leaves out stays float. Parameters stay float behind it, and
    train. UserError, and nothing is changed, for what is no layer or no part.
    """
    layers = dict(_layers(model))
    for name, parts in table.items():
        if name not in layers:
            raise UserError(f"fixed point: {unknown(name, layers, 'layer ')}")
        for part in parts:
            if part not in PARTS:
                raise UserError(f"fixed point: {name}: {unknown(part, PARTS)}")
        if parametrize.is_parametrized(layers[name]) or hasattr(layers[name], INPUT):
            raise UserError(f"fixed point: {name}: is compressed already")
    for name, parts in table.items():
        layer, said = layers[name], {part: parts.get(part, FixedPoint("none")) for part in PARTS}
        for key in ("weight", "bias"):
            if getattr(layer, key) is not None:
                grid = FixedGrid(said[key], always=True).to(getattr(layer, key).device)
                parametrize.register_parametrization(layer, key, grid)
        device = layer.weight.device
        hook_input(layer, FixedGrid(said["input"]).to(device).train(layer.training))
        hook_output(layer, GradientGrid(said["gradient"]).to(device).train(layer.training))
    return model


def fixed_point_of(model: nn.Module) -> Table:
    """The table of `model` as it stands, with the exponents found so far."""
    found = {}
    for name, layer in _fixed_layers(model):
        grids = {key: steps[0] for key, steps in layer.parametrizations.items()}
        grids |= {"input": getattr(layer, INPUT), "gradient": getattr(layer, OUTPUT).grid}
        found[name] = {part: grids[part].now for part in PARTS if part in grids}
    return found


def settled(table: Mapping[str, Mapping[str, FixedPoint]]) -> Table:
    """`table` with `fixed` in place of `auto` where an exponent was found."""
    return {
        name: {p: replace(f, method="fixed") if f.exponent is not None else f for p, f in parts.items()}
        for name, parts in table.items()
    }


def table_text(table: Mapping[str, Mapping[str, FixedPoint]]) -> str:
    """The table as YAML, to print or to keep: a layer, a part, what is said of it."""
    plain = {
        name: {part: {k: v for k, v in vars(f).items() if v is not None} for part, f in parts.items()}
        for name, parts in table.items()
    }
    return yaml.safe_dump(plain, sort_keys=False, default_flow_style=None, width=110)


def write_table(path: Path | str, table: Mapping[str, Mapping[str, FixedPoint]]) -> None:
    """Keep a table in a file."""
    with atomic_path(path) as temporary:
        temporary.write_text(table_text(table), "utf-8")


def read_table(path: Path | str) -> Table:
    """A table that was kept; UserError, naming file, layer and part, for what it cannot say."""
    found: Table = {}
    for name, parts in read_yaml(path).items():
        if not isinstance(parts, dict) or not all(isinstance(said, dict) for said in parts.values()):
            raise UserError(f"{path}: {name}: expected parts such as weight: {{method: auto, bits: 8}}")
        with blaming(path):
            found[name] = {p: read_method_options(FixedPoint, said, f"{name}: {p}") for p, said in parts.items()}
    return found


@dataclass(frozen=True)
class Accumulator:
    """Bits, sign included, of the sums of products of one layer, without its bias. `fan_in`: whatever the integers are;
    `weights`: with these weights, whatever the inputs; `seen`: of the sums that occurred.
    """

    layer: str
    products: int
    fan_in: int
    weights: int
    seen: int


def bits_of(largest: int) -> int:
    """Bits of two's complement that hold the numbers from -`largest` to `largest`."""
    return largest.bit_length() + 1


@torch.no_grad()
def accumulators(model: nn.Module, *inputs: Any) -> list[Accumulator]:
    """What the sums of each layer in fixed point need when `model` is given `inputs`; those whose weights or inputs are
    float are left out. Sums are computed in float64, which is exact for them.
    """
    seen: dict[str, int] = {}

    def look(name: str, layer: nn.Module, x: Tensor) -> None:
        grid = getattr(layer, INPUT)
        integers = grid(x).double() * 2.0 ** -int(grid.exponent)
        seen[name] = max(seen.get(name, 0), int(_without_bias(layer, integers, _integers(layer)).abs().max()))

    chosen = [
        (name, layer)
        for name, layer in _fixed_layers(model)
        if "none" not in (layer.parametrizations.weight[0].fixed.method, getattr(layer, INPUT).fixed.method)
    ]
    handles = [layer.register_forward_pre_hook(lambda m, x, n=name: look(n, m, x[0])) for name, layer in chosen]
    training = model.training
    model.eval()(*inputs)
    model.train(training)
    for handle in handles:
        handle.remove()
    found = []
    for name, layer in chosen:
        rows = _integers(layer).abs().flatten(1)
        given = largest_integer(getattr(layer, INPUT).fixed.bits)
        most = largest_integer(layer.parametrizations.weight[0].fixed.bits) * given * rows.shape[1]
        bound = int(rows.sum(1).max()) * given
        found.append(Accumulator(name, rows.shape[1], bits_of(most), bits_of(bound), bits_of(seen.get(name, 0))))
    return found


def _integers(layer: nn.Module) -> Tensor:
    grid = layer.parametrizations.weight[0]
    weight = layer.weight  # computing it finds the exponent
    return weight.double() * 2.0 ** -int(grid.exponent)


def _without_bias(layer: Any, x: Tensor, weight: Tensor) -> Tensor:
    return F.linear(x, weight) if isinstance(layer, nn.Linear) else layer._conv_forward(x, weight, None)


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((name, m) for name, m in model.named_modules() if isinstance(m, _LAYERS))


def _fixed_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    return ((name, m) for name, m in _layers(model) if isinstance(getattr(m, INPUT, None), FixedGrid))
