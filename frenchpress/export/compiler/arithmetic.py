"""What an LSTM and its heads do with sums, as TIR expressions: on integers, as packed/reference.py does, or floats.

Each class has `constants`, arrays that its methods get back as buffers, and one method that makes expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm.tirx import Expr
from tvm.tirx.script import builder as T

from frenchpress.export.compiler.formats import Array, padded
from frenchpress.export.graph import Grid, LstmArrays
from frenchpress.packed.gates import ENTRIES, STEP_BITS, VALUE_BITS, sigmoid_table
from frenchpress.packed.model import GATES, PackedHead, PackedInput, PackedLstm, Requantizer
from frenchpress.packed.reference import CELL_BITS

_ONE = 1 << VALUE_BITS
_TOP = 2**31 - 1
_OUT_SHIFT = 10
_RISE_BITS = 12
"""The sigmoid rises by at most 2048 from an entry to the next."""
Buffer = Any
"""A buffer of TIR, which can be indexed."""
Sums = Callable[[Expr], Expr]
"""Of a padded row, its sum."""


def by_gate(rows: Array, gates: int = GATES) -> Array:
    """[gates * rows] -> [gates * padded rows], zeros after the rows of each gate."""
    apart = rows.reshape(gates, -1)
    return np.pad(apart, ((0, 0), (0, padded(apart.shape[1]) - apart.shape[1]))).reshape(-1)


def _steps_of_sigmoid() -> Array:
    """uint32 [ENTRIES]: what the sigmoid has above 1/2, and in the lowest bits how much it rises to the next entry.

    Two numbers in one, since a processor takes most of its time for the gates to gather entries.
    """
    table = sigmoid_table()
    return ((table[:-1] - _ONE // 2 << _RISE_BITS) + np.diff(table)).astype(np.uint32)


def _wide(value: Expr) -> Expr:
    return value.astype("int64")


def _shifted(value: Expr, shift: int) -> Expr:
    """An int64 over 2^shift, rounded to nearest, half up."""
    return value if shift == 0 else (value + T.int64(1 << shift >> 1)) >> T.int64(shift)


def _clamped(value: Expr, top: float | int) -> Expr:
    dtype = value.ty.dtype
    return T.max(T.min(value, _constant(top, dtype)), _constant(-top, dtype))


def _constant(value: float | int, dtype: str) -> Expr:
    return getattr(T, str(dtype))(value)


def held(new: Expr, sent: Expr, hold: int) -> Expr:
    """An int32 as it is seen: what was sent before, where it has moved by no more than `hold`."""
    return T.Select(T.max(new - sent, sent - new) > hold, new, sent) if hold else new


@dataclass(frozen=True)
class IntegerInput:
    """Features to integers; `constants` float32 [dim] each."""

    input: PackedInput
    dtype = "int32"

    @property
    def constants(self) -> tuple[Array, ...]:
        """Means and gains."""
        return self.input.mean, self.input.gain

    def value(self, feature: Expr, place: Expr, frame: Expr, constants: Sequence[Buffer]) -> Expr:
        """Of feature `place` of frame number `frame` of the splice."""
        mean, gain = constants
        scaled = T.bind(T.nearbyint((feature - mean[place]) * gain[place]))
        return T.Select(T.isnan(scaled), T.float32(0), _clamped(scaled, 2 ** (self.input.bits - 1) - 1)).astype("int32")


@dataclass(frozen=True)
class FloatInput:
    """Features less their mean, scaled; `constants` float32 [frames * dim]."""

    mean: Array
    scale: Array
    dim: int
    dtype = "float32"

    @property
    def constants(self) -> tuple[Array, ...]:
        """Means and scales of spliced features."""
        return self.mean, self.scale

    def value(self, feature: Expr, place: Expr, frame: Expr, constants: Sequence[Buffer]) -> Expr:
        """As IntegerInput.value."""
        mean, scale = constants
        at = frame * self.dim + place
        return (feature - mean[at]) * scale[at]


@dataclass(frozen=True)
class IntegerRounding:
    """To the grid of the inputs of a layer."""

    requantizer: Requantizer
    bits: int

    def value(self, x: Expr) -> Expr:
        """Of an int32."""
        shifted = _shifted(_wide(x) * T.int64(self.requantizer.multiplier), self.requantizer.shift)
        return _clamped(shifted, 2 ** (self.bits - 1) - 1).astype("int32")


@dataclass(frozen=True)
class FloatRounding:
    """To a grid, ties to even, as frenchpress.compress does."""

    grid: Grid

    def value(self, x: Expr) -> Expr:
        """Of a float32."""
        scale = T.float32(self.grid.scale)
        if self.grid.bits == 1:
            return T.Select(x < T.float32(0), -scale, scale)
        return _clamped(T.nearbyint(x / scale), 2 ** (self.grid.bits - 1) - 1) * scale


@dataclass(frozen=True)
class IntegerCell:
    """Gates, cell state and outputs of a packed layer."""

    layer: PackedLstm
    dtype = "int32"
    by_vector = True
    """Whether all that a step does is known for vectors."""

    @property
    def constants(self) -> tuple[Array, ...]:
        """Multipliers of both sums and bias, int32 [gates * padded cells]; table of the sigmoid uint32 [entries]."""
        rows = self.layer.input_multiplier, self.layer.recurrent_multiplier, self.layer.bias
        return *map(by_gate, rows), _steps_of_sigmoid()

    def _sigmoid(self, z: Expr, table: Buffer) -> Expr:
        size = T.bind(T.min(T.Select(z < 0, -z, z), T.int32((ENTRIES << STEP_BITS) - 1)))
        entry, rest = T.bind(table[size >> STEP_BITS]), size & ((1 << STEP_BITS) - 1)
        low = (entry >> T.uint32(_RISE_BITS)).astype("int32")
        rise = (entry & T.uint32((1 << _RISE_BITS) - 1)).astype("int32")
        above = T.bind(low + ((rise * rest + (1 << STEP_BITS - 1)) >> STEP_BITS))
        return T.bind(_ONE // 2 + T.Select(z < 0, -above, above))

    def step(
        self, x: Sums, h: Sums, states: tuple[Expr, Expr], rows: Sequence[Expr], constants: Sequence[Buffer]
    ) -> Sequence[Expr]:
        """Next output and cell state, from those before and sums over inputs and outputs at `rows` (one a gate)."""
        sent, c = states
        along, back, bias, table = constants
        wide = (_wide(x(row)) * _wide(along[row]) + _wide(h(row)) * _wide(back[row]) for row in rows)
        z = [T.bind(_shifted(sums, self.layer.shift).astype("int32") + bias[row]) for sums, row in zip(wide, rows)]
        i, f, g, o = (self._sigmoid(gate, table) for gate in z)
        added = _wide(i) * _wide(2 * g - _ONE) << T.int64(CELL_BITS - VALUE_BITS)
        new = T.bind(_clamped(_shifted(_wide(f) * _wide(c) + added, VALUE_BITS), _TOP))
        argument = T.bind(2 * _shifted(new, CELL_BITS - 16).astype("int32"))
        tanh = 2 * self._sigmoid(argument, table) - _ONE
        product = _shifted(_wide(o) * _wide(tanh), _OUT_SHIFT) * T.int64(self.layer.out_multiplier)
        out = _clamped(_shifted(product, 2 * VALUE_BITS - _OUT_SHIFT + 15), 2 ** (self.layer.output_bits - 1) - 1)
        return held(T.bind(out.astype("int32")), sent, self.layer.hold_output), new.astype("int32")


@dataclass(frozen=True)
class FloatCell:
    """Gates, cell state and outputs in float32; outputs on `grid`, if there is one."""

    arrays: LstmArrays
    grid: Grid | None
    dtype = "float32"

    @property
    def by_vector(self) -> bool:
        """See IntegerCell: TVM rounds to even one by one."""
        return self.grid is None

    @property
    def constants(self) -> tuple[Array, ...]:
        """Bias, float32 [gates * padded cells]."""
        return (by_gate(self.arrays.bias),)

    def step(
        self, x: Sums, h: Sums, states: tuple[Expr, Expr], rows: Sequence[Expr], constants: Sequence[Buffer]
    ) -> Sequence[Expr]:
        """As IntegerCell.step."""
        z = [T.bind(x(row) + h(row) + constants[0][row]) for row in rows]
        i, f, o = (T.bind(T.float32(1) / (T.float32(1) + T.exp(-z[gate]))) for gate in (0, 1, 3))
        new = T.bind(f * states[1] + i * T.tanh(z[2]))
        out = T.bind(o * T.tanh(new))
        return out if self.grid is None else FloatRounding(self.grid).value(out), new


@dataclass(frozen=True)
class IntegerHead:
    """Logits of a packed head, int32 with 16 fraction bits."""

    head: PackedHead
    dtype = "int32"

    @property
    def constants(self) -> tuple[Array, ...]:
        """Multipliers and biases, int32 [outputs]."""
        return self.head.multiplier, self.head.bias

    def value(self, total: Expr, row: Expr, constants: Sequence[Buffer]) -> Expr:
        """Of the sum of a row."""
        multiplier, bias = constants
        shifted = _shifted(_wide(total) * _wide(multiplier[row]), self.head.shift)
        return _clamped(shifted + _wide(bias[row]), _TOP).astype("int32")


@dataclass(frozen=True)
class FloatHead:
    """Logits, float32."""

    bias: Array
    dtype = "float32"

    @property
    def constants(self) -> tuple[Array, ...]:
        """Biases."""
        return (self.bias,)

    def value(self, total: Expr, row: Expr, constants: Sequence[Buffer]) -> Expr:
        """As IntegerHead.value."""
        return total + constants[0][row]
