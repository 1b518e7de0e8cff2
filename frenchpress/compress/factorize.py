"""Layers of any torch model in two: a linear layer or a convolution of low rank, an LSTM with projections."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from frenchpress.common import UserError, blaming
from frenchpress.compress.factors import Factors, low_rank, rank_of_energy
from frenchpress.compress.rules import entry_of, wrong_entry

Rank = int | float
"""A rank, or below 1 the share of the sum of squares that is to be kept."""


def factorize(model: nn.Module, ranks: Mapping[str, Rank]) -> nn.Module:
    """Replace linear layers and two-dimensional convolutions of `model` by two of low rank each, in place.

    A linear layer becomes `Sequential(Linear(in, rank), Linear(rank, out))`, a convolution one with `rank` filters and
    one of 1 x 1 behind it (Zhang et al. 2015, arXiv 1505.06798, sec. 2.1); both begin with the best approximation of
    the weight. `ranks`: by exact name, pattern or `default`, as in `press`; call it before `press`. UserError, and
    nothing is changed, for a name that means no such layer and a rank that saves nothing.
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d)) and name}
    wrong = wrong_entry([(name,) for name in layers], list(ranks), "module")
    if wrong is not None:
        raise UserError(f"factorize: {wrong[0]}: {wrong[1]}")
    chosen = {name: ranks[entry] for name in layers if (entry := entry_of((name,), ranks)) in ranks}
    halves = {}
    for name, rank in chosen.items():
        with blaming(f"factorize: {name}"):
            halves[name] = _halves(layers[name], rank)
    for name, pair in halves.items():
        owner, _, key = name.rpartition(".")
        setattr(model.get_submodule(owner), key, nn.Sequential(*pair))
    return model


def _halves(layer: nn.Linear | nn.Conv2d, rank: Rank) -> tuple[nn.Module, nn.Module]:
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        raise UserError(f"a convolution of {layer.groups} groups has no matrix to factor")
    weight = layer.weight.detach().flatten(1)
    left, right = low_rank(weight, _rank(weight, rank))
    if isinstance(layer, nn.Linear):
        first = nn.Linear(layer.in_features, len(right), bias=False)
        second = nn.Linear(len(right), layer.out_features, bias=layer.bias is not None)
    else:
        where = {key: getattr(layer, key) for key in ("stride", "padding", "dilation", "padding_mode")}
        first = nn.Conv2d(layer.in_channels, len(right), layer.kernel_size, bias=False, **where)
        second = nn.Conv2d(len(right), layer.out_channels, 1, bias=layer.bias is not None)
    for half, value in ((first, right), (second, left)):
        half.weight = nn.Parameter(value.view(half.weight.shape).contiguous(), layer.weight.requires_grad)
    second.bias = copy.copy(layer.bias)
    return first, second


def _rank(weight: Tensor, rank: Rank) -> int:
    """As a number that saves weights of a matrix [out, in]."""
    number = rank_of_energy(weight, rank) if isinstance(rank, float) and rank < 1 else int(rank)
    return Factors(rank=number).rank_in(tuple(weight.shape))


def project_lstm(lstm: nn.LSTM, rank: int, reader: nn.Linear) -> tuple[nn.LSTM, nn.Linear]:
    """An LSTM whose layers give `rank` projections of their outputs (Sak et al. 2014, arXiv 1402.1128), and the linear
    layer `reader` behind it that takes these: copies, the LSTM with `proj_size`.

    All that reads the outputs of a layer, its own recurrent matrix and the next layer's input matrix, or `reader`, is
    stacked and factored together, so that one projection serves both (Prabhavalkar et al. 2016, arXiv 1603.08042,
    sec. 2.2). UserError unless the LSTM goes one way, has no projections yet, and `reader` takes its outputs.
    """
    if lstm.bidirectional or lstm.proj_size or reader.in_features != lstm.hidden_size:
        raise UserError(
            "project_lstm: takes an LSTM of one direction without projections, and a linear layer that reads its "
            f"{lstm.hidden_size} outputs"
        )
    if not 1 <= rank < lstm.hidden_size:
        raise UserError(f"project_lstm: rank: {rank} is out of range; it must be 1 to {lstm.hidden_size - 1}")
    made = nn.LSTM(
        lstm.input_size, lstm.hidden_size, lstm.num_layers, lstm.bias, lstm.batch_first, lstm.dropout, proj_size=rank
    ).to(lstm.weight_hh_l0)
    behind = nn.Linear(rank, reader.out_features, bias=reader.bias is not None).to(reader.weight)
    values = dict(lstm.state_dict())
    for layer in range(lstm.num_layers):
        last = layer + 1 == lstm.num_layers
        after = reader.weight if last else values[f"weight_ih_l{layer + 1}"]
        own = values[f"weight_hh_l{layer}"]
        left, values[f"weight_hr_l{layer}"] = low_rank(torch.cat([own, after]), rank)
        values[f"weight_hh_l{layer}"], read = left.split([len(own), len(after)])
        values |= {} if last else {f"weight_ih_l{layer + 1}": read}
    made.load_state_dict(values)
    behind.load_state_dict({**reader.state_dict(), "weight": read})
    return made, behind
