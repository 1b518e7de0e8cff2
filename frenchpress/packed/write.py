"""Writing the packed file; `format` has what both directions know of it, and reads it."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import atomic_path
from frenchpress.common.bits import pack_bits, to_bytes
from frenchpress.packed.format import COUNTED, HEADER, LABEL, MAGIC, RUNS
from frenchpress.packed.model import PackedFront, PackedHead, PackedInput, PackedLstm, PackedMatrix, PackedModel


def write_model(path: Path | str, model: PackedModel) -> int:
    """Write `model` to `path`, whole or not at all; the number of bytes."""
    data = model_bytes(model)
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(data)
    return len(data)


def model_bytes(model: PackedModel) -> bytes:
    """The file as bytes."""
    meta = json.dumps(model.meta, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    sections = [(b"META", meta), (b"FEAT", _input_bytes(model.input))]
    sections += [(b"LSTM", _lstm_bytes(layer)) for layer in model.layers]
    sections.append((b"HEAD", _head_bytes(model.head)))
    if model.holds:
        holds = [n for layer in model.layers for n in (layer.hold_input, layer.hold_output)]
        sections.append((b"HOLD", struct.pack(f"<{len(holds)}H", *holds)))
    if model.front is not None:
        sections.append((b"FRNT", _front_bytes(model.front)))
    body = b"".join(tag + struct.pack("<I", len(data)) + data + bytes(-len(data) % 4) for tag, data in sections)
    length = HEADER.size + len(body)
    return HEADER.pack(MAGIC, _version(model), len(sections), length, zlib.crc32(body)) + body


def _version(model: PackedModel) -> int:
    """The oldest one whose readers know all that is in the model."""
    if model.input.left < 0:
        return 6
    if model.input.stride > 1:
        return 5
    if model.holds:
        return 4
    if any(m.counted for m in model.matrices):
        return 3
    return 2 if any(m.runs for m in model.matrices) else 1


def _input_bytes(x: PackedInput) -> bytes:
    start = struct.pack("<HbBBB2x", x.dim, x.left, x.right, x.bits, x.stride - 1)
    return start + _floats(x.mean) + _floats(x.gain)


def _lstm_bytes(layer: PackedLstm) -> bytes:
    head = struct.pack(
        "<HBBBBxxII", layer.cells, layer.input_bits, layer.output_bits, layer.shift, layer.requantizer.shift,
        layer.requantizer.multiplier, layer.out_multiplier,
    )  # fmt: skip
    numbers = (layer.input_multiplier, layer.recurrent_multiplier, layer.bias)
    return (
        head + b"".join(_ints(n) for n in numbers) + _matrix_bytes(layer.input_matrix)
        + _matrix_bytes(layer.recurrent_matrix)
    )  # fmt: skip


def _head_bytes(head: PackedHead) -> bytes:
    start = struct.pack(
        "<HBBBxxxI", len(head.bias), head.input_bits, head.shift, head.requantizer.shift, head.requantizer.multiplier
    )
    numbers = (head.multiplier, head.bias, head.log_prior)
    return start + b"".join(_ints(n) for n in numbers) + _matrix_bytes(head.matrix)


def _front_bytes(front: PackedFront) -> bytes:
    (dim, _), labels = front.matrix.shape, np.empty(len(front.label_pdf), LABEL)
    labels["pdf"], labels["phone"], labels["flags"] = front.label_pdf, front.label_phone, front.label_flags
    start = struct.pack("<HHBBHI", dim, len(front.mean), front.left, front.right, len(front.weight), len(labels))
    numbers = (front.mean, front.matrix, front.weight, front.means, front.variances)
    return start + b"".join(_floats(n) for n in numbers) + labels.tobytes()


def _matrix_bytes(m: PackedMatrix) -> bytes:
    kind = COUNTED if m.counted else RUNS if m.masks and not m.levels else len(m.levels)
    start = struct.pack("<HHBBBB", m.rows, m.columns, m.gates, m.bits, kind, len(m.masks))
    levels = b"".join(struct.pack("<HHHxx", v.block, v.numerator, v.denominator) for v in m.levels)
    runs = b"".join(struct.pack("<IBxxx", v.kept, v.width) for v in m.runs)
    counted = struct.pack("<HH4H4x", m.counted.height, m.counted.width, *m.counted.counts) if m.counted else b""
    kept = m.values[m.mask].astype(np.int64)
    codes = (kept > 0).astype(np.int64) if m.bits == 1 else kept & ((1 << m.bits) - 1)
    data = to_bytes(*m.index, pack_bits(codes, m.bits))
    return start + levels + runs + counted + data + bytes(-len(data) % 4)


def _ints(values: NDArray[np.int32]) -> bytes:
    return np.asarray(values, "<i4").tobytes()


def _floats(values: NDArray[np.float32]) -> bytes:
    return np.asarray(values, "<f4").tobytes()
