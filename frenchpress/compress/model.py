"""Compression of any torch model: its weights by parametrizations, what its modules are given and give by hooks."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from frenchpress.common import UserError, blaming
from frenchpress.compress.activations import ActQuantizer, act_quantizer_of, refuse_unused_act
from frenchpress.compress.chain import Chain
from frenchpress.compress.hooks import hook_input, hook_output
from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.compress.matrices import Matrix, matrices_of
from frenchpress.compress.options import Press
from frenchpress.compress.rules import entry_of, wrong_entry
from frenchpress.compress.weight import Parametrization


def press(model: nn.Module, rules: Mapping[str, Press], seed: int = 0) -> nn.Module:
    """Compress `model`, in place, as `rules` say, and give it back; `seed` draws random masks.

    A weight is called as in `state_dict`, `fc.weight`, `lstm.weight_hh_l0`, or by its module, `fc`, `lstm`. The entry
    under its exact name counts, else the pattern that matches it, else `default`; what no entry means stays as it is.
    An `Embedding` is compressed where an entry has its exact name. The optimizer is to be made afterwards, since
    quantizers may learn. UserError, and nothing is changed, for an entry that means no weight, an unknown method or
    option, and what does not fit a weight.
    """
    if not isinstance(rules, Mapping):
        raise UserError(f"press: expected a table such as {{'lstm.*': Press(...)}}, got {type(rules).__name__}")
    chosen = list(_chosen(model, rules))
    chains = [(matrix, _chain(matrix, rule, seed, place)) for place, matrix, rule in chosen]
    hooks = list(_activations([(matrix, rule) for _, matrix, rule in chosen]))
    for matrix, chain in chains:
        parametrize.register_parametrization(matrix.module, matrix.key, chain)
    for module in {id(m.module): m.module for m, _ in chains if isinstance(m.module, nn.RNNBase)}.values():
        _compute_once_per_call(module)
    for module, given, gives in hooks:
        if not given.is_float:
            hook_input(module, given.to(_device(module)))
        if not gives.is_float:
            hook_output(module, gives.to(_device(module)))
    return model


def schedule(model: nn.Module, seed: int = 0) -> MaskSchedule:
    """What sets the masks of a pressed model that have a time, in training.

    Call `before_step(epoch, step, steps)` before each forward pass and `after_backward()` before each step of the
    optimizer; add `penalty()` to the loss where a mask has a `lasso`.
    """
    return MaskSchedule(model, seed)


def bake(model: nn.Module) -> nn.Module:
    """A copy of a pressed `model` with plain parameters that hold the pressed weights: the same outputs.

    Quantizers of inputs and outputs stay, as hooks. UserError where nothing is pressed; a warning where a mask was
    never chosen.
    """
    plain = copy.deepcopy(model)
    pressed = [(name, module) for name, module in plain.named_modules() if parametrize.is_parametrized(module)]
    if not pressed:
        raise UserError("bake: no weight of this model is pressed; fp.press(model, {...}) comes first")
    for name, module in pressed:
        for key, steps in module.parametrizations.items():
            if len(steps) > 1 or not isinstance(steps[0], Parametrization):
                raise UserError(f"bake: {name}.{key}: has another parametrization too; remove that one first")
            _warn_unpruned(f"{name}.{key}", steps[0])
        _make_plain(module)
    return plain


def _warn_unpruned(name: str, chain: Chain) -> None:
    """Weights were to be removed, and all are still there: the training forgot to."""
    if chain.asked_density < 1 and chain.density == 1:
        warnings.warn(
            f"bake: {name}: keeps all its weights, where {chain.asked_density:.3g} of them were asked for; its mask is "
            "chosen in training, by schedule.before_step(epoch, step, steps)",
            stacklevel=3,
        )


def _chosen(model: nn.Module, rules: Mapping[str, Press]) -> Iterator[tuple[int, Matrix, Press]]:
    """The weights that `rules` mean with what these say, each with its place among all."""
    every = matrices_of(model)
    wrong = wrong_entry([(m.name, m.owner) for m in every], list(rules), "module")
    if wrong is not None:
        raise UserError(f"press: {wrong[0]}: {wrong[1]}")
    used = set()
    for place, matrix in enumerate(every):
        entry = entry_of((matrix.name, matrix.owner), rules)
        exact = entry in (matrix.name, matrix.owner)
        if entry in rules and (exact or not isinstance(matrix.module, nn.Embedding)):
            used.add(entry)
            yield place, matrix, _checked(rules[entry], entry, matrix, model)
    for entry in rules:
        if entry not in used:
            raise UserError(
                f"press: {entry}: all weights that it matches have an entry of their own; "
                "an Embedding is pressed under its exact name alone"
            )


def _checked(rule: Any, entry: str, matrix: Matrix, model: nn.Module) -> Press:
    """`rule`, UserError unless it is one and the weight can be pressed."""
    if not isinstance(rule, Press):
        raise UserError(f"press: {entry}: expected Press(...), got {type(rule).__name__}")
    with blaming(f"press: {matrix.name}"):
        if parametrize.is_parametrized(matrix.module):
            raise UserError("its module has a parametrization already; press a model once, before others are added")
        if isinstance(matrix.value, UninitializedParameter):
            raise UserError("has no shape yet; call the model once before")
        _refuse_tied(matrix, model)
    return rule


def _refuse_tied(matrix: Matrix, model: nn.Module) -> None:
    names = [name for name, value in model.named_parameters(remove_duplicate=False) if value is matrix.value]
    if len(names) > 1:
        raise UserError(f"{' and '.join(names)} are one parameter; pressing one would leave the others as they are")


def _chain(matrix: Matrix, rule: Press, seed: int, place: int) -> Parametrization:
    """Each weight draws its mask by itself, so that what is done to one leaves the others alone."""
    state = np.random.SeedSequence([seed, place]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0] >> 1))
    rows, columns = matrix.value.shape[0], matrix.value[0].numel()
    with blaming(f"press: {matrix.name}"):
        chain = Parametrization((rows, columns), rule, matrix.gates, generator)
    chain.quantizer.called = matrix.name
    return chain.to(matrix.value.device)


def _activations(chosen: list[tuple[Matrix, Press]]) -> Iterator[tuple[nn.Module, ActQuantizer, ActQuantizer]]:
    """The quantizers of input and output of each module that has a pressed weight."""
    for owner, group in groupby(chosen, key=lambda pair: pair[0].owner):
        pairs = list(group)
        module, rule = pairs[0][0].module, pairs[0][1]
        with blaming(f"press: {owner}"):
            if any(other.activations != rule.activations for _, other in pairs):
                raise UserError("act_bits, output_bits: its weights say different things; a module has one input")
            if isinstance(module, nn.Embedding) and rule.act_bits < 32:
                raise UserError("act_bits: the input of an Embedding is an index; use output_bits")
            given, gives = act_quantizer_of(rule), act_quantizer_of(replace(rule, act_bits=rule.output_bits))
            given.called, gives.called = f"{owner}: input", f"{owner}: output"
            refuse_unused_act(rule, given, gives)
        yield module, given, gives


@torch.no_grad()
def _make_plain(module: nn.Module) -> None:
    """Undo `register_parametrization`; torch's own way back would undo it in every copy of the module as well."""
    values = {key: getattr(module, key).clone() for key in module.parametrizations}
    trained = {key: steps.original.requires_grad for key, steps in module.parametrizations.items()}
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]
    for key, value in values.items():
        setattr(module, key, nn.Parameter(value, trained[key]))


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _compute_once_per_call(module: nn.RNNBase) -> None:
    """Let a parametrized LSTM compute each weight once per call, where torch asks for it several times.

    torch also keeps the last ones, which with their gradients cannot be copied; a copy finds its own.
    """
    kind = type(module)  # made by torch for this module alone
    forward, deepcopy = kind.forward, kind.__deepcopy__

    def forward_once(self: nn.RNNBase, *args: Any, **kwargs: Any) -> Any:
        with parametrize.cached():
            return forward(self, *args, **kwargs)

    def deepcopy_without(self: nn.RNNBase, memo: dict[int, Any]) -> Any:
        memo.update({id(w): w.detach() for w in self._flat_weights if w is not None and not w.is_leaf})
        return deepcopy(self, memo)

    kind.forward, kind.__deepcopy__ = forward_once, deepcopy_without
