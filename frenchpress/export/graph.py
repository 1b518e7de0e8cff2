"""ONNX graphs node by node: a builder, one `LSTM` operator per layer, rounding to a static grid.

Knows nothing of models: what a layer holds comes in as arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.compress.quantizers import largest_integer
from frenchpress.export.packages import require

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 17, 8  # of 2022, so that older runtimes read the file too; nothing newer is needed
MOST_BYTES = 2**31 - 1  # what one protobuf message can hold

Floats = NDArray[np.float32]
Shape = Sequence[int | str]
"""Sizes of an input or output; a name stands for a size that may differ from call to call."""


@dataclass(frozen=True)
class Grid:
    """Static grid of a quantized tensor: `scale` times the integers that `bits` bits hold, symmetric."""

    bits: int
    scale: float


@dataclass(frozen=True)
class LstmArrays:
    """One LSTM layer in torch's gate order i, f, g, o; float32.

    `inputs` [4 cells, inputs], `recurrent` [4 cells, cells], `bias` [4 cells]. `grid`: where its inputs are rounded.
    """

    inputs: Floats
    recurrent: Floats
    bias: Floats
    grid: Grid | None = None

    @property
    def cells(self) -> int:
        """Cells of the layer."""
        return self.recurrent.shape[1]


class GraphBuilder:
    """Collects nodes, constants, inputs and outputs under names that are given once."""

    def __init__(self) -> None:
        self._onnx = require("onnx")
        self._nodes: list[Any] = []
        self._constants: dict[str, NDArray[Any]] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Array kept in the file; gives back `name`."""
        self._constants[name] = values
        return name

    def node(self, operator: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """One operator, named after its first output, which it gives back; an empty input is one left out."""
        helper = self._onnx.helper
        self._nodes.append(helper.make_node(operator, inputs, outputs, name=f"{outputs[0]}_node", **attributes))
        return outputs[0]

    def input(self, name: str, shape: Shape, default: Floats | None = None) -> str:
        """A float32 input of the graph; one with a `default` may be left out of a call."""
        self._inputs.append(self._value(name, shape))
        return name if default is None else self.constant(name, default)

    def output(self, name: str, shape: Shape) -> None:
        """Declare the float32 tensor `name` an output of the graph."""
        self._outputs.append(self._value(name, shape))

    def _value(self, name: str, shape: Shape) -> Any:
        return self._onnx.helper.make_tensor_value_info(name, self._onnx.TensorProto.FLOAT, shape)

    def model(self, name: str, doc: str = "", metadata: Mapping[str, str] | None = None) -> onnx.ModelProto:
        """The whole model, checked by onnx with its shapes inferred. UserError if too large for one file."""
        size = sum(array.nbytes for array in self._constants.values())
        if size > MOST_BYTES:
            raise UserError(f"{name}: {size / 2**30:.1f} GiB of weights; an ONNX file holds at most 2 GiB")
        helper = self._onnx.helper
        tensors = [self._onnx.numpy_helper.from_array(array, key) for key, array in self._constants.items()]
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, tensors, doc_string=doc)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, producer_name="frenchpress", opset_imports=[opset], ir_version=IR_VERSION)
        helper.set_model_props(model, dict(metadata or {}))
        self._onnx.checker.check_model(model, full_check=True)
        return model


def to_onnx_gates(rows: Floats) -> Floats:
    """[4 cells, ...] in torch's gate order i, f, g, o -> the same in the LSTM operator's order i, o, f, c."""
    gates = rows.reshape(4, -1, *rows.shape[1:])
    return np.ascontiguousarray(gates[[0, 3, 1, 2]].reshape(rows.shape))


def add_rounding(graph: GraphBuilder, x: str, grid: Grid | None, name: str) -> str:
    """`x` at its nearest values on the grid, ties to even, as frenchpress.compress does; `x` itself without a grid."""
    if grid is None:
        return x
    scale = graph.constant(f"{name}_scale", np.float32(grid.scale).reshape(()))
    if grid.bits == 1:
        below = graph.node("Less", [x, graph.constant(f"{name}_zero", np.zeros((), np.float32))], f"{name}_below")
        minus = graph.constant(f"{name}_minus", np.float32(-grid.scale).reshape(()))
        return graph.node("Where", [below, minus, scale], f"{name}_rounded")
    top = np.float32(largest_integer(grid.bits)).reshape(())
    ends = [graph.constant(f"{name}_least", -top), graph.constant(f"{name}_most", top)]
    steps = graph.node("Round", [graph.node("Div", [x, scale], f"{name}_steps")], f"{name}_integers")
    steps = graph.node("Clip", [steps, *ends], f"{name}_clipped")
    return graph.node("Mul", [steps, scale], f"{name}_rounded")


def add_lstm(
    graph: GraphBuilder, name: str, x: str, layer: LstmArrays, states: tuple[str, str]
) -> tuple[str, str, str]:
    """One `LSTM` operator: `x` [T, B, inputs], states h, c [1, B, cells] -> outputs [T, B, cells], last h, last c."""
    bias = np.concatenate([to_onnx_gates(layer.bias), np.zeros_like(layer.bias)])
    arrays = {"W": to_onnx_gates(layer.inputs), "R": to_onnx_gates(layer.recurrent), "B": bias}
    weights = [graph.constant(f"{name}_{key}", array[None]) for key, array in arrays.items()]
    outputs = f"{name}_Y", f"{name}_h", f"{name}_c"
    graph.node("LSTM", [x, *weights, "", *states], *outputs, hidden_size=layer.cells)
    direction = graph.constant(f"{name}_direction", np.array([1], np.int64))
    return graph.node("Squeeze", [outputs[0], direction], f"{name}_y"), *outputs[1:]


def add_lstm_stack(graph: GraphBuilder, x: str, layers: Mapping[str, LstmArrays], batch: int = 1) -> str:
    """Layers one on the other, all of the same cells: `x` [T, batch, inputs] -> outputs of the last [T, batch, cells].

    The graph gets optional inputs `h0`, `c0` (zeros unless given) and outputs `hn`, `cn`, each [layers, batch, cells]:
    what one call gives as `hn`, `cn` the next one takes as `h0`, `c0`.
    """
    shape = len(layers), batch, next(iter(layers.values())).cells
    parts = {}
    for key in "hc":
        given = graph.input(f"{key}0", shape, np.zeros(shape, np.float32))
        parts[key] = [f"{name}_{key}0" for name in layers]
        graph.node("Split", [given], *parts[key], axis=0)
    last: dict[str, list[str]] = {"h": [], "c": []}
    for (name, layer), h, c in zip(layers.items(), parts["h"], parts["c"]):
        x, h, c = add_lstm(graph, name, add_rounding(graph, x, layer.grid, f"{name}_in"), layer, (h, c))
        last["h"].append(h)
        last["c"].append(c)
    for key, names in last.items():
        graph.output(graph.node("Concat", names, f"{key}n", axis=0), shape)
    return x
