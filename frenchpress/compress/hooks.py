"""Quantizers of what goes into a module and of what it gives, as hooks on the module."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

INPUT, OUTPUT = "pressed_input", "pressed_output"


def hook_input(module: nn.Module, quantizer: nn.Module) -> None:
    """Quantize the first argument of `module`; the quantizer becomes a part of it."""
    module.add_module(INPUT, quantizer)
    module.register_forward_pre_hook(_before, with_kwargs=True)


def hook_output(module: nn.Module, quantizer: nn.Module) -> None:
    """Quantize what `module` gives, of an LSTM the outputs alone; the quantizer becomes a part of it."""
    module.add_module(OUTPUT, quantizer)
    module.register_forward_hook(_after)


# Functions that find the quantizer on the module, so that a copy of the module finds its own.
def _before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    quantizer = getattr(module, INPUT)
    if args:
        return (_quantized(quantizer, args[0]), *args[1:]), kwargs
    return args, {**kwargs, "input": _quantized(quantizer, kwargs["input"])}


def _after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    quantizer = getattr(module, OUTPUT)
    if isinstance(output, tuple) and not isinstance(output, PackedSequence):
        return (_quantized(quantizer, output[0]), *output[1:])
    return _quantized(quantizer, output)


def _quantized(quantizer: nn.Module, x: Tensor | PackedSequence) -> Tensor | PackedSequence:
    if isinstance(x, PackedSequence):
        return x._replace(data=_quantized(quantizer, x.data))
    return quantizer(x)
