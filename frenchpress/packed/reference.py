"""The packed network in numpy, plain and slow: it defines every bit that a runtime must give, and serves where none is.

All numbers are int64. Products of matrices go through float64, which is exact for the integers below 2^53 in them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from frenchpress.packed.gates import VALUE_BITS, sigmoid, tanh
from frenchpress.packed.model import GATES, PackedInput, PackedLstm, PackedMatrix, PackedModel, Requantizer

CELL_BITS = 24
"""Fraction bits of a cell state, which is held within 32 bits."""
_TOP = 2**31 - 1
_OUT_SHIFT = 10

Ints = NDArray[np.int64]
Watch = Callable[[int, Ints], None]
"""Is told the number of a layer and the gate arguments of its next frame, int64 [4 cells], 16 fraction bits."""


class ReferenceStream:
    """A stream of frames through a packed model, as fp_stream of native/press.h is one."""

    def __init__(self, model: PackedModel, watch: Watch | None = None) -> None:
        self.model = model
        self._layers = [_Layer(layer) for layer in model.layers]
        self._watch = watch
        self._head = _Product(model.head.matrix)
        self.reset()

    def reset(self) -> None:
        """Be at the start of an utterance."""
        self._frames: Ints | None = None
        for layer in self._layers:
            layer.reset()

    def push(self, feats: NDArray[np.float32]) -> NDArray[np.int32]:
        """Features float32 [n, dim] -> the logits that are ready, int32 [at most n, outputs], 16 fraction bits."""
        new = quantize_features(self.model.input, feats)
        if not len(new):
            return np.zeros((0, self.model.outputs), np.int32)
        if self._frames is None:
            self._frames = np.repeat(new[:1], max(self.model.input.left, 0), axis=0)
            self._unseen = max(-self.model.input.left, 0)  # frames to come that no output sees
        return self._advance(new)

    def finish(self) -> NDArray[np.int32]:
        """The utterance is over: logits of the frames that waited for those after them."""
        if self._frames is None:
            return np.zeros((0, self.model.outputs), np.int32)
        logits = self._advance(np.repeat(self._last, self.model.input.right, axis=0))
        self.reset()
        return logits

    def _advance(self, new: Ints) -> NDArray[np.int32]:
        frames = np.concatenate([self._frames, new])
        self._last, gone = frames[-1:], min(self._unseen, len(frames))
        frames, self._unseen = frames[gone:], self._unseen - gone
        around = self.model.input.left + self.model.input.right
        ready = max(0, len(frames) - around)
        self._frames = frames[ready:]
        x = frames[np.arange(ready)[:, None] + np.array(self.model.input.offsets) + self.model.input.left]
        x = x.reshape(ready, self.model.input.width)
        for number, layer in enumerate(self._layers):
            x = layer.run(x, None if self._watch is None else partial(self._watch, number))
        return self._logits(x)

    def _logits(self, x: Ints) -> NDArray[np.int32]:
        head = self.model.head
        acc = self._head(_requantized(x, head.requantizer, head.input_bits))
        logits = _shifted(acc * head.multiplier.astype(np.int64), head.shift) + head.bias
        return logits.clip(-_TOP, _TOP).astype(np.int32)


def run(model: PackedModel, feats: NDArray[np.float32], watch: Watch | None = None) -> NDArray[np.int32]:
    """Features of an utterance float32 [T, dim] -> logits int32 [T, outputs], 16 fraction bits."""
    stream = ReferenceStream(model, watch)
    return np.concatenate([stream.push(feats), stream.finish()])


def quantize_features(x: PackedInput, feats: NDArray[np.float32]) -> Ints:
    """Integers int64 [T, dim] of float32 features: ties to even, NaN as 0."""
    top = np.float32(2 ** (x.bits - 1) - 1)
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.rint((np.asarray(feats, np.float32) - x.mean) * x.gain)
    return np.nan_to_num(np.clip(scaled, -top, top), nan=0.0).astype(np.int64)


def _shifted(values: Ints, shift: int) -> Ints:
    """values / 2^shift rounded to nearest, half up."""
    return (values + (1 << shift >> 1)) >> shift


def _requantized(x: Ints, requantizer: Requantizer, bits: int) -> Ints:
    """The integers on the grid of a layer's inputs."""
    if requantizer.multiplier == 0:
        return x
    top = 2 ** (bits - 1) - 1
    return _shifted(x * requantizer.multiplier, requantizer.shift).clip(-top, top)


class _Product:
    """x [..., columns] -> x W' [..., rows]; sums stay below 2^31, so float64 adds them exactly."""

    def __init__(self, matrix: PackedMatrix) -> None:
        self._transposed = matrix.values.astype(np.float64).T.copy()

    def __call__(self, x: Ints) -> Ints:
        return (x.astype(np.float64) @ self._transposed).astype(np.int64)


class _KeptSums(_Product):
    """The product of one frame after the other: what moved is added to the sums of the frame before."""

    def reset(self) -> None:
        """Zeros came before."""
        columns, rows = self._transposed.shape
        self._x, self._sums = np.zeros(columns, np.int64), np.zeros(rows, np.int64)

    def __call__(self, x: Ints) -> Ints:
        """x [columns] -> [rows]."""
        moved = np.flatnonzero(x != self._x)
        change = (x - self._x)[moved].astype(np.float64)
        self._x, self._sums = x, self._sums + (change @ self._transposed[moved]).astype(np.int64)
        return self._sums


class _Layer:
    """One LSTM layer with its outputs h and its cell state c."""

    def __init__(self, layer: PackedLstm) -> None:
        self._layer = layer
        self._along = _Product(layer.input_matrix)
        self._back = (_KeptSums if layer.hold_output else _Product)(layer.recurrent_matrix)

    def reset(self) -> None:
        self._h, self._c = np.zeros((2, self._layer.cells), np.int64)
        self._seen = np.zeros(self._layer.input_matrix.columns, np.int64)
        if isinstance(self._back, _KeptSums):
            self._back.reset()

    def run(self, x: Ints, watch: Callable[[Ints], None] | None = None) -> Ints:
        """Inputs int64 [n, columns] on the grid of the layer before -> outputs int64 [n, cells]."""
        layer = self._layer
        x = self._held(_requantized(x, layer.requantizer, layer.input_bits))
        along = self._along(x) * layer.input_multiplier.astype(np.int64)
        back = layer.recurrent_multiplier.astype(np.int64)
        out = np.zeros((len(x), layer.cells), np.int64)
        for t in range(len(x)):
            argument = _shifted(along[t] + self._back(self._h) * back, layer.shift) + layer.bias
            if watch is not None:
                watch(argument)
            self._step(argument)
            out[t] = self._h
        return out

    def _held(self, x: Ints) -> Ints:
        """Inputs [n, columns] as they are seen: what was last sent on where they have not moved by more than that."""
        if not self._layer.hold_input:
            return x
        seen = np.empty_like(x)
        for t, new in enumerate(x):
            self._seen = seen[t] = _seen(new, self._seen, self._layer.hold_input)
        return seen

    def _step(self, argument: Ints) -> None:
        """Gate arguments [4 cells] with 16 fraction bits -> the next outputs and cell state."""
        i, f, g, o = argument.reshape(GATES, -1)
        # i * g has 40 fraction bits, f * c 44.
        tanh_g = 2 * sigmoid(g) - (1 << VALUE_BITS)  # its argument came doubled
        c = _shifted(sigmoid(f) * self._c + ((sigmoid(i) * tanh_g) << (CELL_BITS - VALUE_BITS)), VALUE_BITS)
        self._c = c.clip(-_TOP, _TOP)
        # The table's argument has 16 fraction bits.
        product = _shifted(sigmoid(o) * tanh(_shifted(self._c, CELL_BITS - 16)), _OUT_SHIFT)
        top = 2 ** (self._layer.output_bits - 1) - 1
        h = _shifted(product * self._layer.out_multiplier, 2 * VALUE_BITS - _OUT_SHIFT + 15)
        self._h = _seen(h.clip(-top, top), self._h, self._layer.hold_output)


def _seen(new: Ints, sent: Ints, hold: int) -> Ints:
    return np.where(np.abs(new - sent) > hold, new, sent)
