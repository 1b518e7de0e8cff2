"""One matrix or vector out of an archive. The one module that imports kaldiio, or kaldi_native_io in its place.

kaldiio reads them where it is installed. Its licence (NTT) is for evaluation only; who cannot accept it uninstalls it
and installs kaldi-native-io (Apache-2.0). Both get the bytes of one value and nothing else: never a name or a command
out of a file, which both of them would obey.
"""

from __future__ import annotations

import io
import re
import struct
import tempfile
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from frenchpress.common import UserError
from frenchpress.kaldi.binary import HEADER

try:
    from kaldiio import matio
except ImportError:
    matio = None
try:
    import kaldi_native_io
except ImportError:
    kaldi_native_io = None

_COUNTS = {
    "FM": ("<xixi", lambda rows, columns: 4 * rows * columns),
    "DM": ("<xixi", lambda rows, columns: 8 * rows * columns),
    "FV": ("<xi", lambda size: 4 * size),
    "DV": ("<xi", lambda size: 8 * size),
    # Compressed: least value, range, rows, columns; CM alone has four percentiles of 16 bits for each column.
    "CM": ("<8xii", lambda rows, columns: columns * (8 + rows)),
    "CM2": ("<8xii", lambda rows, columns: 2 * rows * columns),
    "CM3": ("<8xii", lambda rows, columns: rows * columns),
}
"""By the name of a binary value: layout of its sizes, and the bytes that follow for them (Kaldi's kaldi-matrix.cc,
kaldi-vector.cc, compressed-matrix.cc).
"""
_AT_ONCE = 1 << 24

Reader = Callable[[bytes, str], np.ndarray]


def read_value(handle: BinaryIO) -> np.ndarray:
    """The matrix or vector that begins where `handle` stands, in the precision stored; text as float32.

    ValueError when none begins there, or when it is cut short or damaged.
    """
    data, kind = _value_bytes(handle)
    if not kind:
        return _from_text(data)
    reader = next(iter(READERS.values()), None)
    if reader is None:
        raise UserError("neither kaldiio nor kaldi-native-io is installed; pip install one of them to read archives")
    return reader(data, kind)


def _value_bytes(handle: BinaryIO) -> tuple[bytes, str]:
    """The bytes of one value, and what a binary one is called ("FM", ...; "" for text)."""
    head = handle.read(len(HEADER))
    if head != HEADER:
        if head[:1] not in (b" ", b"\n", b"["):
            raise ValueError("neither a binary nor a text matrix begins here")
        return head + _until(handle, b"]", None), ""
    name = _until(handle, b" ", 4)
    kind = name[:-1].decode("latin-1")
    if kind not in _COUNTS:
        raise ValueError(f"a value of kind {kind!r}, expected one of {', '.join(_COUNTS)}")
    layout, size = _COUNTS[kind]
    sizes = _take(handle, struct.calcsize(layout))
    counts = struct.unpack(layout, sizes)
    if min(counts) < 0:
        raise ValueError(f"sizes {counts}")
    return head + name + sizes + _take(handle, size(*counts)), kind


def _take(handle: BinaryIO, size: int) -> bytes:
    """Exactly `size` bytes. In pieces, since a damaged size must not ask for more memory than there are bytes."""
    pieces = []
    while size:
        pieces.append(handle.read(min(size, _AT_ONCE)))
        size -= len(pieces[-1])
        if not pieces[-1]:
            raise ValueError("file ends inside a matrix")
    return b"".join(pieces)


def _until(handle: BinaryIO, end: bytes, longest: int | None) -> bytes:
    """All bytes up to `end` and with it, at most `longest`."""
    found = bytearray()
    while longest is None or len(found) < longest:
        found += (byte := handle.read(1))
        if byte == end:
            return bytes(found)
        if not byte:
            raise ValueError("file ends inside a matrix")
    raise ValueError("no name of a matrix or vector begins here")


def _from_text(data: bytes) -> np.ndarray:
    """`[ 1 2 ]` is a vector, rows on lines of their own are a matrix; float32."""
    inside = re.fullmatch(rb"\s*\[(.*)\]", data, re.DOTALL)
    if not inside:
        raise ValueError("no [ at the beginning of a text matrix")
    rows = [np.array(line.split(), np.float32) for line in inside[1].split(b"\n") if line.strip()]
    return rows[0] if len(rows) == 1 and b"\n" not in inside[1] else np.stack(rows) if rows else np.zeros(0, np.float32)


def _by_kaldiio(data: bytes, kind: str) -> np.ndarray:
    return matio.read_matrix_or_vector(io.BytesIO(data))


def _by_kaldi_native_io(data: bytes, kind: str) -> np.ndarray:
    precision, shape = "Double" if kind[0] == "D" else "Float", "Vector" if kind[1] == "V" else "Matrix"
    # It reads only what has a name. This one is ours: it neither begins nor ends in what would make it a command.
    with tempfile.NamedTemporaryFile(suffix=".value") as file:
        file.write(data)
        file.flush()
        return np.array(getattr(kaldi_native_io, precision + shape).read(file.name).numpy())


_KNOWN = (("kaldiio", matio, _by_kaldiio), ("kaldi_native_io", kaldi_native_io, _by_kaldi_native_io))
READERS: dict[str, Reader] = {name: reader for name, module, reader in _KNOWN if module is not None}
"""Those that are installed; the first one is used."""
