"""What is compiled: layers and heads of a packed model (integers) or of a trained one (floats), without TIR."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from frenchpress.common import UserError, blaming
from frenchpress.compress import ActQuantizer
from frenchpress.export.compiler.arithmetic import (
    FloatCell,
    FloatHead,
    FloatInput,
    FloatRounding,
    IntegerCell,
    IntegerHead,
    IntegerInput,
    IntegerRounding,
)
from frenchpress.export.compiler.formats import Array, padded
from frenchpress.export.to_onnx import OUTPUTS, lstm_arrays, static_grid
from frenchpress.nnet.linear import PressedLinear
from frenchpress.nnet.lstm import QuantLSTMLayer
from frenchpress.nnet.model import AcousticModel
from frenchpress.packed.model import GATES, PackedMatrix, PackedModel, Requantizer

Rounding = IntegerRounding | FloatRounding | None


def _rows(weights: Array) -> int:
    """Sums that a product has."""
    return weights.shape[0] * padded(weights.shape[1])


def _kept(weights: Array, still: bool) -> dict[str, int]:
    """Of a product whose inputs are held back: what was last sent of them, and its sums."""
    return {"sent": weights.shape[2], "sums": _rows(weights)} if still else {}


@dataclass(frozen=True)
class Layer:
    """One LSTM layer: `input` [4, cells, inputs] and `recurrent` [4, cells, cells], int8 or float32.

    `hold`: inputs that moved by no more than that are seen as they were last sent. `still`: whether inputs, and whether
    outputs, are held back somewhere, so that most of them are what they were in the frame before.
    """

    name: str
    rounding: Rounding
    input: Array
    recurrent: Array
    cell: IntegerCell | FloatCell
    hold: int = 0
    still: tuple[bool, bool] = (False, False)

    @property
    def states(self) -> dict[str, int]:
        """What goes on from frame to frame, and how many numbers each is."""
        cells, back = self.recurrent.shape[1], _rows(self.recurrent)
        kept = _kept(self.input, self.still[0]) | ({"back": back} if self.still[1] else {})
        return {"h": cells, "c": cells} | kept


@dataclass(frozen=True)
class Head:
    """One head: `weights` [1, outputs, inputs], int8 or float32. `still`: as of the inputs of a layer."""

    name: str
    rounding: Rounding
    weights: Array
    finish: IntegerHead | FloatHead
    still: bool = False

    @property
    def states(self) -> dict[str, int]:
        """As Layer.states."""
        return _kept(self.weights, self.still)


@dataclass(frozen=True)
class Network:
    """A network whose frames have `dim` features; what it sees at each are frames at `offsets` from it."""

    dim: int
    offsets: range
    input: IntegerInput | FloatInput
    layers: tuple[Layer, ...]
    heads: tuple[Head, ...]

    @property
    def dtype(self) -> str:
        """Of everything but features and weights: int32 or float32."""
        return self.input.dtype


def _integers(matrix: PackedMatrix) -> Array:
    return matrix.values.astype("int8").reshape(matrix.gates, matrix.rows, matrix.columns)


def _requantizing(requantizer: Requantizer, bits: int) -> Rounding:
    return IntegerRounding(requantizer, bits) if requantizer.multiplier else None


def of_packed(model: PackedModel) -> Network:
    """A packed model, integers inside."""
    outputs = [layer.hold_output > 0 for layer in model.layers]
    layers = (
        Layer(
            f"lstm{i}", _requantizing(layer.requantizer, layer.input_bits), _integers(layer.input_matrix),
            _integers(layer.recurrent_matrix), IntegerCell(layer), layer.hold_input,
            (layer.hold_input > 0 or (i > 0 and outputs[i - 1]), outputs[i]),
        )
        for i, layer in enumerate(model.layers)
    )  # fmt: skip
    head, given = model.head, model.input
    rounding = _requantizing(head.requantizer, head.input_bits)
    heads = (Head("head_cd", rounding, _integers(head.matrix), IntegerHead(head), outputs[-1]),)
    return Network(given.dim, given.offsets, IntegerInput(given), tuple(layers), heads)


def _rounding(act: ActQuantizer) -> FloatRounding | None:
    grid = static_grid(act)
    if grid is None and not act.is_float:
        raise UserError(f"{act.called}: act_quantizer without a static range; compile with act_quantizer: fixed")
    return None if grid is None else FloatRounding(grid)


def _trained_layer(name: str, layer: QuantLSTMLayer) -> Layer:
    if layer.act_cell is not None:
        raise UserError("cell_bits: compiled layers keep their cell state in 32 bits")
    if layer.delta is not None:
        raise UserError("delta: inputs and outputs are held back in integers only; pack the model first")
    arrays, rounded = lstm_arrays(layer), _rounding(layer.act_out)
    gates = (matrix.reshape(GATES, layer.cells, -1) for matrix in (arrays.inputs, arrays.recurrent))
    return Layer(name, _rounding(layer.act_in), *gates, FloatCell(arrays, rounded and rounded.grid))


@torch.no_grad()
def _trained_heads(model: AcousticModel) -> Iterator[Head]:
    for kind in OUTPUTS:
        head: PressedLinear = getattr(model, f"head_{kind}")
        weights = head.matrix().float().numpy()[None]
        yield Head(f"head_{kind}", _rounding(head.act), weights, FloatHead(head.bias.detach().float().numpy()))


def of_trained(model: AcousticModel) -> Network:
    """A trained model as it is in evaluation, in float32; UserError, which names the layer, where it is not static."""
    layers = []
    for name, layer in model.lstm.items():
        with blaming(name):
            layers.append(_trained_layer(name, layer))
    dim = model.sizes.feat_dim
    given = FloatInput(model.input_mean.numpy(), model.input_scale.numpy(), dim)
    return Network(dim, model.offsets, given, tuple(layers), tuple(_trained_heads(model)))
