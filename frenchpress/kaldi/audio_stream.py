"""Samples from a pipe as they arrive: WAV, or headerless 16-bit samples, little-endian, one channel."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError

_PIECE = 3200
_CONTAINERS = (b"fLaC", b"OggS", b"NIST", b"RIFX", b"RF64", b"FORM")
_UNKNOWN = (0, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFF7)  # what writers to a pipe put for a length


def stream_samples(handle: io.BufferedIOBase, rate: int, where: str) -> Iterator[NDArray[np.float32]]:
    """Samples in the range of 16-bit integers, float32 [n], each piece as soon as it is there.

    What begins with RIFF is WAV, anything else raw samples at `rate`. Errors, begun with `where`: another container,
    rate, width or number of channels; no samples; fewer than the header promises.
    """
    begun = handle.read(4)
    if begun in _CONTAINERS:
        raise UserError(f"{where}: {begun.decode()} data; a pipe may bring WAV or raw 16-bit samples")
    promised = None
    if begun == b"RIFF":
        promised, begun = _data_size(handle, rate, where), b""
    received = 0
    for piece in _pieces(handle, begun, promised):
        received += len(piece)
        yield np.frombuffer(piece, "<i2").astype(np.float32)
    if not received:
        raise UserError(f"{where}: no audio came in")
    if promised is not None and received < promised - promised % 2:
        raise UserError(f"{where}: truncated audio, {received} bytes where its header promises {promised}")


def _pieces(handle: io.BufferedIOBase, begun: bytes, promised: int | None) -> Iterator[bytes]:
    """Whole samples up to the end, or up to `promised` bytes; half a sample at the end is dropped."""
    left = promised
    while left is None or left > 0:
        new = handle.read1(_PIECE if left is None else min(_PIECE, left))
        if not new and len(begun) < 2:
            return
        left = None if left is None else left - len(new)
        begun += new
        whole = len(begun) // 2 * 2
        if whole:
            yield begun[:whole]
        begun = begun[whole:]


def _data_size(handle: io.BufferedIOBase, rate: int, where: str) -> int | None:
    """Read the header of a WAV file up to its samples: their bytes, None where the writer did not know."""
    if handle.read(8)[4:] != b"WAVE":
        raise UserError(f"{where}: RIFF, but not WAV")
    known = False
    while len(chunk := handle.read(8)) == 8:
        name, (size,) = chunk[:4], struct.unpack("<I", chunk[4:])
        if name == b"data":
            if not known:
                break
            return None if size in _UNKNOWN else size
        body = handle.read(min(size + size % 2, 1 << 20))
        if name == b"fmt ":
            _check_format(body, rate, where)
            known = True
    raise UserError(f"{where}: damaged WAV header")


def _check_format(body: bytes, rate: int, where: str) -> None:
    if len(body) < 16:
        raise UserError(f"{where}: damaged WAV header")
    code, channels, found, _, _, bits = struct.unpack("<HHIIHH", body[:16])
    if found != rate:
        raise UserError(f"{where}: {found} Hz, expected {rate} Hz")
    if channels != 1:
        raise UserError(f"{where}: {channels} channels, expected mono")
    if code not in (1, 0xFFFE) or bits != 16:
        raise UserError(f"{where}: WAV of format {code} with {bits} bits, expected 16-bit integers")
