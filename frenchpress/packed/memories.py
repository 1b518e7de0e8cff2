"""A packed network as memories: named rows of numbers of a few bits, and the sizes and shifts that go with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.packed.gates import sigmoid_table
from frenchpress.packed.model import PackedHead, PackedInput, PackedLstm, PackedMatrix, PackedModel, Requantizer
from frenchpress.packed.reference import quantize_features, run

SIGNED, UNSIGNED, FLOAT, SIGN, BITS = "signed", "unsigned", "float32", "sign", "bits"
"""Kinds of numbers: two's complement; as they are; the bits of an IEEE float; 0 for -1 and 1 for +1; an index."""


@dataclass(frozen=True)
class Memory:
    """Numbers of `bits` bits, one behind the other, least significant bit first.

    `numbers`: int64 [n], or float32 where `kind` is FLOAT. `shape`: how they lie, the last axis running fastest.
    `starts`: number with which each gate, or each gate's mask, begins.
    """

    name: str
    kind: str
    bits: int
    numbers: NDArray[np.int64] | NDArray[np.float32]
    shape: tuple[int, ...]
    holds: str
    starts: tuple[int, ...] = ()

    @property
    def codes(self) -> NDArray[np.int64]:
        """The bits of each number as a number from 0 up, int64 [n]."""
        if self.kind == FLOAT:
            return self.numbers.astype(np.float32).view(np.uint32).astype(np.int64)
        if self.kind == SIGN:
            return (self.numbers > 0).astype(np.int64)
        return self.numbers & ((1 << self.bits) - 1)


def network_memories(model: PackedModel) -> list[Memory]:
    """Everything that the network computes with, in the order of the packed file; the table of the gates last."""
    if model.holds:
        raise UserError("delta: memory images have no place for inputs and outputs that are held back")
    memories = _input_memories(model.input)
    for number, layer in enumerate(model.layers):
        memories += _lstm_memories(f"lstm{number}", layer)
    memories += _head_memories(model.head)
    holds = "sigmoid(i / 128), 20 fraction bits, i from 0 to 2048"
    return [*memories, _numbers("sigmoid", sigmoid_table(), holds, UNSIGNED)]


def _numbers(name: str, values: NDArray[Any], holds: str, kind: str = SIGNED, bits: int = 32) -> Memory:
    """One number after the other, whatever the shape."""
    flat = values.ravel()
    return Memory(name, kind, bits, flat if kind == FLOAT else flat.astype(np.int64), values.shape, holds)


def _input_memories(x: PackedInput) -> list[Memory]:
    return [
        _numbers("mean", x.mean, "mean of each feature", FLOAT),
        _numbers("gain", x.gain, "what (feature - mean) is multiplied by before it is rounded", FLOAT),
    ]


def _lstm_memories(name: str, layer: PackedLstm) -> list[Memory]:
    rows = "of each row, gates i, f, g, o one after the other"
    return [
        _numbers(f"{name}_input_multiplier", layer.input_multiplier, f"multiplier of input sums {rows}"),
        _numbers(f"{name}_recurrent_multiplier", layer.recurrent_multiplier, f"multiplier of recurrent sums {rows}"),
        _numbers(f"{name}_bias", layer.bias, f"bias {rows}; 16 fraction bits"),
        *_matrix_memories(f"{name}_input", layer.input_matrix),
        *_matrix_memories(f"{name}_recurrent", layer.recurrent_matrix),
    ]


def _head_memories(head: PackedHead) -> list[Memory]:
    return [
        _numbers("head_multiplier", head.multiplier, "multiplier of the sum of each output"),
        _numbers("head_bias", head.bias, "bias of each output; 16 fraction bits"),
        _numbers("head_log_prior", head.log_prior, "log prior of each output; 16 fraction bits, -2^31: never seen"),
        *_matrix_memories("head", head.matrix),
    ]


def _matrix_memories(name: str, matrix: PackedMatrix) -> list[Memory]:
    """Index, where there is one, and kept weights."""
    mask, memories = matrix.mask, []
    if matrix.masks:
        parts = [bits.astype(np.int64) for bits in matrix.index]
        index, starts = np.concatenate(parts), _starts(parts)
        holds = "numbers of the kept blocks" if matrix.levels else "runs of removed weights"
        holds = "numbers of the combinations that blocks keep" if matrix.counted else holds
        memories.append(Memory(f"{name}_index", BITS, 1, index, index.shape, holds, starts))
    gates = [
        values[kept].astype(np.int64)
        for values, kept in zip(np.split(matrix.values, matrix.gates), np.split(mask, matrix.gates))
    ]
    weights, kind = np.concatenate(gates), SIGN if matrix.bits == 1 else SIGNED
    holds = "kept weights, row by row"
    memories.append(Memory(f"{name}_weights", kind, matrix.bits, weights, weights.shape, holds, _starts(gates)))
    return memories


def _starts(parts: list[NDArray[np.int64]]) -> tuple[int, ...]:
    return tuple(np.cumsum([0, *(len(part) for part in parts[:-1])]).tolist())


# ---- sizes and shifts ----


def network_sizes(model: PackedModel) -> dict[str, Any]:
    """Every number that is not in a memory, as plain values."""
    x = model.input
    layers = {f"lstm{i}": _lstm_sizes(layer) for i, layer in enumerate(model.layers)}
    head = model.head
    return {
        "features": {"dim": x.dim, "left": x.left, "right": x.right, "stride": x.stride, "bits": x.bits},
        **layers,
        "head": {
            "outputs": model.outputs, "input_bits": head.input_bits, "shift": head.shift,
            "requantizer": _requantizer_sizes(head.requantizer), "matrix": _matrix_sizes(head.matrix),
        },
    }  # fmt: skip


def _lstm_sizes(layer: PackedLstm) -> dict[str, Any]:
    return {
        "cells": layer.cells, "input_bits": layer.input_bits, "output_bits": layer.output_bits, "shift": layer.shift,
        "out_multiplier": layer.out_multiplier, "requantizer": _requantizer_sizes(layer.requantizer),
        "input_matrix": _matrix_sizes(layer.input_matrix), "recurrent_matrix": _matrix_sizes(layer.recurrent_matrix),
    }  # fmt: skip


def _requantizer_sizes(requantizer: Requantizer) -> dict[str, int]:
    return {"multiplier": requantizer.multiplier, "shift": requantizer.shift}


def _matrix_sizes(matrix: PackedMatrix) -> dict[str, Any]:
    sizes = {
        "gates": matrix.gates, "rows": matrix.rows, "columns": matrix.columns, "bits": matrix.bits,
        "kept": matrix.kept, "masks": len(matrix.masks),
        "levels": [
            {"block": v.block, "numerator": v.numerator, "denominator": v.denominator} for v in matrix.levels
        ],
    }  # fmt: skip
    # Only where there are any, since the images of other matrices stay as they were.
    runs = [{"kept": r.kept, "width": r.width} for r in matrix.runs]
    if matrix.counted:
        form = matrix.counted
        sizes["counted"] = {"height": form.height, "width": form.width, "counts": list(form.counts)}
    return {**sizes, "runs": runs} if runs else sizes


# ---- what goes in and what must come out ----


def replay_memories(model: PackedModel, frames: int, seed: int, gates: bool) -> list[Memory]:
    """An utterance of `frames` random frames and what the reference makes of it; `gates`: gate arguments too.

    Features spread over a third of the input's range, so that some are cut off and most are not.
    """
    x, rng = model.input, np.random.default_rng(seed)
    spread = 2.0 ** (x.bits - 1) / 3 / np.where(x.gain == 0, 1, x.gain)
    feats = (x.mean + spread * rng.normal(size=(frames, x.dim))).astype(np.float32)
    arguments: list[list[NDArray[np.int64]]] = [[] for _ in model.layers]
    logits = run(model, feats, lambda layer, z: arguments[layer].append(z))
    found = [
        _numbers("stimulus_features", feats, "frames of features", FLOAT),
        _numbers("stimulus_frames", quantize_features(x, feats), "the same as integers, not yet spliced", bits=16),
        _numbers("response_logits", logits, "logits of each frame; 16 fraction bits"),
    ]
    holds = "gate arguments of each frame, gates i, f, g (doubled), o; 16 fraction bits"
    if gates:
        found += [_numbers(f"response_lstm{i}_gates", np.stack(z), holds) for i, z in enumerate(arguments)]
    return found
