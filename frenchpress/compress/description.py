"""What is done to a model's weights and activations, as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from frenchpress.compress.activations import ACT_QUANTIZERS, ActQuantizer
from frenchpress.compress.chain import Chain
from frenchpress.compress.hooks import INPUT, OUTPUT
from frenchpress.compress.matrices import matrices_of
from frenchpress.compress.size import bytes_of, matrix_size, plain_size, size_report
from frenchpress.compress.weight import PressedTensor, pressed_tensors

_COLUMNS = ("tensor", "method", "bits", "range", "scale", "density", "bytes")


@dataclass(frozen=True)
class TensorDescription:
    """One weight, or the input or output of a module, of which `density` and `bytes` are None.

    `low`, `high`: the smallest and the largest value; `scales`: values of one step, none in float. Of an activation
    whose range is not found yet they are None and empty.
    """

    name: str
    method: str
    bits: int
    low: float | None
    high: float | None
    scales: tuple[float, ...]
    density: float | None = None
    bytes: int | None = None

    def cells(self) -> tuple[str, ...]:
        """The line of the table."""
        span = "not found yet" if self.low is None else f"{self.low:.3g} .. {self.high:.3g}"
        few = sorted({f"{s:.3g}" for s in self.scales}, key=float)
        scale = f"{few[0]} .. {few[-1]} ({len(self.scales)})" if len(few) > 1 else "".join(few)
        density = "" if self.density is None else f"{100 * self.density:.2f} %"
        size = "" if self.bytes is None else str(self.bytes)
        return self.name, self.method, str(self.bits), span, scale, density, size


@dataclass(frozen=True)
class Description:
    """All matrices of a model and what is quantized besides; `print` shows it as a table."""

    tensors: tuple[TensorDescription, ...]
    stored_bytes: int
    dense_bytes: int

    def __getitem__(self, name: str) -> TensorDescription:
        """The tensor of that name."""
        return next(t for t in self.tensors if t.name == name)

    def __str__(self) -> str:
        rows = [_COLUMNS, *(tensor.cells() for tensor in self.tensors)]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        ratio = self.dense_bytes / max(1, self.stored_bytes)
        total = f"whole model: {self.stored_bytes} bytes, as float32 {self.dense_bytes}: {ratio:.1f}x"
        return "\n".join([*lines, total])


@torch.no_grad()
def describe(model: nn.Module) -> Description:
    """What is done to each matrix of `model`, and what it then is: method, bits, range, scale, density, bytes.

    Bytes are those of values, index and scales; the last line counts biases and all other parameters too, as float32.
    """
    size = size_report(model)
    tensors = [*map(_pressed, pressed_tensors(model)), *_plain(model), *_activations(model)]
    return Description(tuple(tensors), size["stored_bytes"], size["dense_bytes"])


def _pressed(tensor: PressedTensor) -> TensorDescription:
    chain = tensor.chain
    size, values = matrix_size(tensor.name, chain), chain.press_matrix(tensor.matrix)
    quantizer = "float" if chain.quantizer.is_float else chain.press.quantizer
    method = quantizer if chain.plan is None else f"{chain.plan.name}, {quantizer}"
    scales = () if chain.quantizer.is_float else _used_scales(chain, *chain.to_integers(tensor.matrix))
    span = float(values.min()), float(values.max())
    return TensorDescription(
        tensor.name, method, size.weight_bits, *span, scales, size.density, bytes_of(size.stored_bits)
    )


def _plain(model: nn.Module) -> Iterator[TensorDescription]:
    for matrix in matrices_of(model):
        if not matrix.is_parametrized:
            value, size = matrix.value, plain_size(matrix.name, matrix.value)
            span = float(value.min()), float(value.max())
            yield TensorDescription(matrix.name, "float", 32, *span, (), 1.0, bytes_of(size.stored_bits))


def _activations(model: nn.Module) -> Iterator[TensorDescription]:
    words = {INPUT: "input", OUTPUT: "output"}
    for name, quantizer in model.named_modules():
        owner, _, part = name.rpartition(".")
        if isinstance(quantizer, ActQuantizer) and part in words:
            limit, scale = quantizer.grid(torch.float32) or (None, None)
            span = (None, None) if limit is None else (-float(limit), float(limit))
            scales = () if scale is None else _floats(scale)
            method = next(key for key, kind in ACT_QUANTIZERS.items() if type(quantizer) is kind)
            yield TensorDescription(f"{owner} {words[part]}".strip(), method, quantizer.bits, *span, scales)


def _used_scales(chain: Chain, integers: Tensor, scale: Tensor) -> tuple[float, ...]:
    """Without those of rows of zeros, which have none; one for each block of columns."""
    columns = chain.quantizer.granularity.columns
    if columns is not None:
        return _floats(scale[:, ::columns])
    per_row = scale.numel() == len(integers)
    return _floats(scale.flatten()[integers.any(1)] if per_row else scale)


def _floats(scale: Tensor) -> tuple[float, ...]:
    return tuple(scale.flatten().tolist())
