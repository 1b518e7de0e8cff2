"""The packed file: little-endian sections of known length behind a checksum; docs/packed_model.md has the bytes."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, blaming
from frenchpress.common.bits import BitReader
from frenchpress.common.combinations import Counted
from frenchpress.packed.index import Level, Mask, decode_index
from frenchpress.packed.model import (
    GATES,
    Outline,
    PackedFront,
    PackedHead,
    PackedInput,
    PackedLstm,
    PackedMatrix,
    PackedModel,
    Requantizer,
)
from frenchpress.packed.runs import WIDEST, Runs, decode_runs

MAGIC = b"FPRESS\r\n"
VERSIONS = 1, 2, 3, 4, 5, 6
"""What can be read. A file whose splice begins after the frame itself is of the sixth, one whose splice leaves frames
out of the fifth, one in which something is held back of the fourth, with an index of counted blocks of the third, with
one of runs of the second."""
RUNS, COUNTED = 255, 254
"""In place of a number of levels: the masks have an index of runs; one of blocks that keep equally many."""
HEADER = struct.Struct("<8sHHII")
_CHECKED_FROM = HEADER.size
_MAX_WEIGHTS = 1 << 26
_MAX_BITS, _MAX_ACT_BITS, _MAX_SHIFT, _MAX_LEVELS = 8, 16, 56, 16
_MAX_LAYERS, _MAX_PHONES, _MAX_LABELS = 61, 256, 1 << 20
LABEL = np.dtype([("pdf", "<u2"), ("phone", "u1"), ("flags", "u1")])

_Ints = NDArray[np.int32]

T = TypeVar("T")


class _Bytes:
    """A piece of the file, read from the front; UserError when it ends too early or too late."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> memoryview:
        if count > len(self._data) - self._at:
            raise UserError(f"{count} bytes are needed, {len(self._data) - self._at} are left")
        self._at += count
        return self._data[self._at - count : self._at]

    def rest(self) -> memoryview:
        return self._data[self._at :]

    def unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def ints(self, count: int) -> NDArray[np.int32]:
        return np.frombuffer(self.take(4 * count), "<i4").astype(np.int32)

    def floats(self, count: int) -> NDArray[np.float32]:
        return np.frombuffer(self.take(4 * count), "<f4").astype(np.float32)

    def finish(self) -> None:
        if self._at != len(self._data):
            raise UserError(f"{len(self._data) - self._at} bytes too many")


def read_model(path: Path | str) -> PackedModel:
    """A packed model; UserError that names the file when it is missing, damaged or of another version."""
    return parse_model(read_file(path), str(path))


def read_file(path: Path | str) -> bytes:
    """What is in a packed file; UserError where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `frenchpress pack exp/x` makes exp/x/model.press") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a directory; give the packed file in it, {path}/model.press") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def parse_model(data: bytes, name: str = "packed model") -> PackedModel:
    """The model in the bytes of a file. Nothing in it is executed, and nothing is read outside of it."""
    with blaming(name):
        found = _sections(memoryview(data))
        outline = _outline(found)
        layers = tuple(_section(s, _lstm) for s in found.layers)
        if found.holds:
            layers = _section(found.holds[0], lambda piece: tuple(_held(piece, layer) for layer in layers))
        model = PackedModel(outline.input, layers, _section(found.head, _head), outline.meta, outline.front)
        _check_chain(model)
    return model


def parse_outline(data: bytes, name: str = "packed model") -> Outline:
    """The outline of the model in the bytes of a file, whose weights are not looked at; UserError when damaged."""
    with blaming(name):
        return _outline(_sections(memoryview(data)))


_Piece = tuple[bytes, memoryview]


class _Sections(NamedTuple):
    """Tag and body of each section; `holds` and `front` are empty or have one."""

    meta: _Piece
    input: _Piece
    layers: list[_Piece]
    head: _Piece
    holds: list[_Piece]
    front: list[_Piece]


def _outline(found: _Sections) -> Outline:
    _, log_prior = _head_numbers(_Bytes(found.head[1]))
    front = _section(found.front[0], _front) if found.front else None
    outline = Outline(_section(found.input, _input), log_prior, _section(found.meta, _meta), front)
    _check_front(outline)
    return outline


def _sections(data: memoryview) -> _Sections:
    if data[: len(MAGIC)] != MAGIC or len(data) < HEADER.size:
        raise UserError("not a packed model; frenchpress pack exp/x makes one, exp/x/model.press")
    _, version, count, length, crc = HEADER.unpack_from(data)
    if version not in VERSIONS:
        raise UserError(f"version {version} of the format, this program reads {VERSIONS[0]} to {VERSIONS[-1]}")
    if length != len(data) or crc != zlib.crc32(data[_CHECKED_FROM:]):
        raise UserError("damaged: its length or checksum is wrong")
    body, found = _Bytes(data[_CHECKED_FROM:]), []
    for _ in range(_within(count, 4, _MAX_LAYERS + 5, "number of sections")):
        tag, size = body.unpack("<4sI")
        found.append((tag, body.take(size)))
        body.take(-size % 4)
    body.finish()
    tags = [tag for tag, _ in found]
    head = tags.index(b"HEAD") if b"HEAD" in tags else 0
    after = [tag for tag in (b"HOLD", b"FRNT") if tag in tags]
    if tags[:2] != [b"META", b"FEAT"] or set(tags[2:head]) != {b"LSTM"} or tags[head + 1 :] != after:
        raise UserError(f"sections {b' '.join(tags)!r}, expected META FEAT LSTM ... HEAD, and maybe HOLD and FRNT")
    _within(head - 2, 1, _MAX_LAYERS, "number of layers")
    rest = dict(zip(after, found[head + 1 :]))
    holds, front = ([rest[tag]] if tag in rest else [] for tag in (b"HOLD", b"FRNT"))
    return _Sections(found[0], found[1], found[2:head], found[head], holds, front)


def _section(section: _Piece, parse: Callable[[_Bytes], T]) -> T:
    piece = _Bytes(section[1])
    with blaming(f"section {section[0].decode()}"):
        result = parse(piece)
        piece.finish()
    return result


def _meta(piece: _Bytes) -> dict[str, Any]:
    try:
        meta = json.loads(bytes(piece.take(len(piece.rest()))))
    except (ValueError, RecursionError):
        raise UserError("not JSON") from None
    if not isinstance(meta, dict):
        raise UserError("not a JSON object")
    return meta


def _within(value: int, low: int, high: int, what: str) -> int:
    if not low <= value <= high:
        raise UserError(f"{what} {value} is outside {low} to {high}")
    return value


def _input(piece: _Bytes) -> PackedInput:
    dim, left, right, bits, between = piece.unpack("<HbBBB2x")
    _within(dim, 1, 65535, "features")
    if left + right < 0:
        raise UserError(f"a splice of the frames from {-left} to {right}")
    if left % (between + 1) or right % (between + 1):
        raise UserError(f"{between} frames between two of a splice of {left} + 1 + {right}")
    _within(bits, 2, _MAX_ACT_BITS, "activation bits")
    mean, gain = piece.floats(dim), piece.floats(dim)
    if not (np.isfinite(mean).all() and np.isfinite(gain).all()):
        raise UserError("mean or gain is not finite")
    return PackedInput(left, right, bits, mean, gain, between + 1)


def _requantizer(multiplier: int, shift: int) -> Requantizer:
    _within(multiplier, 0, 2**31 - 1, "multiplier")
    return Requantizer(multiplier, _within(shift, 1 if multiplier else 0, 46, "shift"))


def _lstm(piece: _Bytes) -> PackedLstm:
    cells, bits_in, bits_out, shift, in_shift, in_multiplier, out_multiplier = piece.unpack("<HBBBBxxII")
    _within(cells, 1, 65535, "cells")
    _within(out_multiplier, 1, 2**31 - 1, "output multiplier")
    for bits in (bits_in, bits_out):
        _within(bits, 2, _MAX_ACT_BITS, "activation bits")
    rows = GATES * cells
    along, back, bias = (piece.ints(rows) for _ in range(3))
    input_matrix, recurrent = _matrix(piece), _matrix(piece)
    for matrix in (input_matrix, recurrent):
        if (matrix.gates, matrix.rows) != (GATES, cells):
            raise UserError(f"matrix of {matrix.gates} x {matrix.rows} rows, expected {GATES} x {cells}")
    if recurrent.columns != cells:
        raise UserError(f"recurrent matrix of {recurrent.columns} columns, expected {cells}")
    _check_rows(input_matrix, bits_in, along, shift)
    _check_rows(recurrent, bits_out, back, shift)
    layer = PackedLstm(
        bits_in, bits_out, _requantizer(in_multiplier, in_shift), out_multiplier, shift, along, back, bias,
        input_matrix, recurrent,
    )  # fmt: skip
    _check_gates(layer)
    return layer


def _held(piece: _Bytes, layer: PackedLstm) -> PackedLstm:
    hold_input, hold_output = piece.unpack("<HH")
    return replace(layer, hold_input=hold_input, hold_output=hold_output)


def _check_gates(layer: PackedLstm) -> None:
    """What accumulators come to must fit into 32 bits, whatever the inputs."""
    total = np.zeros(GATES * layer.cells, np.int64)
    for matrix, bits, multiplier in (
        (layer.input_matrix, layer.input_bits, layer.input_multiplier),
        (layer.recurrent_matrix, layer.output_bits, layer.recurrent_multiplier),
    ):
        largest = np.abs(matrix.values.astype(np.int64)).sum(1) * (2 ** (bits - 1) - 1)
        total += largest * np.abs(multiplier.astype(np.int64))
    if ((total >> layer.shift) + np.abs(layer.bias.astype(np.int64)) + 1 >= 1 << 31).any():
        raise UserError("a gate can exceed 32 bits; the model has diverged")


def _head_numbers(piece: _Bytes) -> tuple[tuple[int, Requantizer, int, _Ints, _Ints], _Ints]:
    """Bits, requantizer, shift, multipliers and biases of the head; and its log priors."""
    outputs, bits, shift, in_shift, in_multiplier = piece.unpack("<HBBBxxxI")
    _within(outputs, 1, 65535, "outputs")
    _within(bits, 2, _MAX_ACT_BITS, "activation bits")
    multiplier, bias, prior = (piece.ints(outputs) for _ in range(3))
    return (bits, _requantizer(in_multiplier, in_shift), shift, multiplier, bias), prior


def _head(piece: _Bytes) -> PackedHead:
    (bits, requantizer, shift, multiplier, bias), prior = _head_numbers(piece)
    matrix = _matrix(piece)
    if (matrix.gates, matrix.rows) != (1, len(bias)):
        raise UserError(f"matrix of {matrix.gates} x {matrix.rows} rows, expected 1 x {len(bias)}")
    _check_rows(matrix, bits, multiplier, shift)
    return PackedHead(bits, requantizer, shift, multiplier, bias, prior, matrix)


def _front(piece: _Bytes) -> PackedFront:
    dim, ceps, left, right, phones, labels = piece.unpack("<HHBBHI")
    _within(dim, 1, 65535, "features")
    _within(ceps, 1, 65535, "cepstra")
    _within(phones, 0, _MAX_PHONES, "phones")
    _within(labels, 1, _MAX_LABELS, "labels")
    width = (left + 1 + right) * ceps
    mean, matrix, weight = piece.floats(ceps), piece.floats(dim * width), piece.floats(phones)
    means, variances = piece.floats(phones * dim), piece.floats(phones * dim)
    if not all(np.isfinite(n).all() for n in (mean, matrix, weight, means, variances)):
        raise UserError("a number is not finite")
    if (weight < 0).any() or (variances <= 0).any():
        raise UserError("a weight below 0, or a variance not above it")
    table = np.frombuffer(piece.take(labels * LABEL.itemsize), LABEL)
    pdf, phone, flags = (table[name].astype(np.int32) for name in ("pdf", "phone", "flags"))
    if (phones and phone.max() >= phones) or flags.max() > 3:
        raise UserError("a label of a phone that is not there, or with unknown flags")
    shape = (phones, dim)
    return PackedFront(
        left, right, mean, matrix.reshape(dim, width), weight, means.reshape(shape), variances.reshape(shape),
        pdf, phone, flags,
    )  # fmt: skip


def _check_rows(matrix: PackedMatrix, act_bits: int, multiplier: NDArray[np.int32], shift: int) -> None:
    """Nothing may overflow: accumulators 31 bits, products of them with multipliers 61."""
    _within(shift, 1, _MAX_SHIFT, "shift")
    if (np.abs(multiplier.astype(np.int64)) >= 1 << 30).any():
        raise UserError("a multiplier is outside 30 bits")
    largest = int(np.abs(matrix.values.astype(np.int64)).sum(1).max()) * (2 ** (act_bits - 1) - 1)
    if largest >= 1 << 31:
        raise UserError(
            f"a row of weights can add up to {largest}, past 32 bits; use fewer activation or weight bits, or keep less"
        )


def _matrix(piece: _Bytes) -> PackedMatrix:
    rows, columns, gates, bits, levels, masks = piece.unpack("<HHBBBB")
    _within(bits, 1, _MAX_BITS, "weight bits")
    if gates not in (1, GATES) or masks not in ((1, gates) if levels else (0,)) or not rows or not columns:
        raise UserError(f"matrix of {gates} x {rows} x {columns} with {levels} levels and {masks} masks")
    _within(gates * rows * columns, 1, _MAX_WEIGHTS, "number of weights")
    read_masks = _index(piece, levels, masks, (rows, columns))
    reader = BitReader(piece.rest(), highest_first=False, what="")
    steps, counted, found = read_masks(reader)
    mask = np.concatenate(found * (gates // masks)) if found else np.ones((gates * rows, columns), np.bool_)
    codes = reader.take(int(mask.sum()), bits)
    values = np.zeros(mask.shape, np.int32)
    values[mask] = 2 * codes - 1 if bits == 1 else np.where(codes >> (bits - 1), codes - (1 << bits), codes)
    size = reader.bytes_used + -reader.bytes_used % 4
    reader.finish(size)
    piece.take(size)
    return PackedMatrix(gates, bits, values, steps, found, counted)


_Masks = tuple[tuple[Level, ...], Counted | None, tuple[Mask, ...]]
"""Levels, blocks and masks of a matrix."""


def _index(piece: _Bytes, kind: int, count: int, shape: tuple[int, int]) -> Callable[[BitReader], _Masks]:
    """What stands before the bits of `count` masks, and so the reader of these bits."""
    if kind == RUNS:
        runs = _runs(piece, count, shape[0] * shape[1])
        return lambda reader: ((), None, tuple(decode_runs(reader, shape, one) for one in runs))
    if kind == COUNTED:
        form = _counted(piece, shape)
        return lambda reader: ((), form, tuple(_read_counted(reader, form, shape) for _ in range(count)))
    levels = _levels(piece, kind)
    return lambda reader: (levels, None, tuple(decode_index(reader, shape, levels) for _ in range(count)))


def _counted(piece: _Bytes, shape: tuple[int, int]) -> Counted:
    height, width, *counts = piece.unpack("<HH4H4x")
    form = Counted(height, width, tuple(counts))
    form.check(shape)
    return form


def _read_counted(reader: BitReader, form: Counted, shape: tuple[int, int]) -> Mask:
    return form.read(shape, lambda count: reader.take(count, 1), highest_first=False)


def _runs(piece: _Bytes, count: int, size: int) -> tuple[Runs, ...]:
    """What stands before the numbers of `count` masks of `size` weights."""
    found = tuple(Runs(*piece.unpack("<IBxxx")) for _ in range(count))
    for runs in found:
        _within(runs.kept, 0, size, "kept weights")
        _within(runs.width, 1, WIDEST, "bits of a run")
    return found


def _levels(piece: _Bytes, count: int) -> tuple[Level, ...]:
    steps = tuple(_level(piece) for _ in range(_within(count, 0, _MAX_LEVELS, "levels")))
    if any(inner.block > outer.block for outer, inner in zip(steps, steps[1:])):
        raise UserError("blocks inside a block are larger than it")
    return steps


def _level(piece: _Bytes) -> Level:
    block, numerator, denominator = piece.unpack("<HHHxx")
    if not block or not 0 < numerator <= denominator:
        raise UserError(f"level of blocks of {block}, keeping {numerator}/{denominator}")
    return Level(block, numerator, denominator)


def _check_chain(model: PackedModel) -> None:
    """Each layer takes what the one before gives, on the same grid or with a requantizer."""
    width, bits = model.input.width, model.input.bits
    steps = [(layer.input_matrix, layer.input_bits, layer.requantizer, layer) for layer in model.layers]
    steps.append((model.head.matrix, model.head.input_bits, model.head.requantizer, None))
    for number, (matrix, given, requantizer, layer) in enumerate(steps):
        if matrix.columns != width:
            raise UserError(f"layer {number}: {matrix.columns} inputs, but {width} come in")
        if requantizer.multiplier == 0 and given != bits:
            raise UserError(f"layer {number}: {given}-bit inputs, but {bits}-bit ones come in")
        if layer is not None:
            width, bits = layer.cells, layer.output_bits


def _check_front(model: Outline) -> None:
    """The front end gives what the network takes, and its labels read outputs that are there."""
    front = model.front
    if front is None:
        return
    if len(front.matrix) != model.input.dim:
        raise UserError(f"front end of {len(front.matrix)} features, but the network takes {model.input.dim}")
    if front.label_pdf.max() >= model.outputs:
        raise UserError(f"a label reads output {front.label_pdf.max()} of {model.outputs}")
