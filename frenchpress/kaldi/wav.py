"""The header of a WAV file, and its samples: the same rules for a file and for a pipe.

Writers that cannot seek back leave a size that they could not know. It then means "to the end". Known from the wild:
0 (GStreamer, Python), 0x7FFFF000 (SoX, eSpeak), 0x7FFFFFFF, 0x80000000 (arecord), 0xFFFFFFFF (FFmpeg), and each of
them less the size of the header. The specification of sizes above 4 GB (RF64) is EBU Tech 3306.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError

NAMES = (b"RIFF", b"RF64", b"BW64")
UNKNOWN_FROM = 0x7FFF0000
"""Sizes from here on are no sizes: as much speech would be eighteen hours long."""
_MUCH = 3200  # bytes that are no padding
_SMALL_CHUNKS = 1024  # bytes: names of artists and the like
_LARGEST_FLOAT = 16.0  # beyond full scale, which is 1, for a peak; 16-bit integers stored as floats go far beyond
_INTEGERS, _FLOATS, _EXTENSIBLE = 1, 3, 0xFFFE

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class WavHeader:
    """`form`: the body of the chunk "fmt "; `size`: bytes of samples, None for "to the end"; they start at `begin`."""

    form: bytes
    begin: int
    size: int | None

    @property
    def fields(self) -> tuple[int, int, int, int]:
        """Code of the format, channels, Hz, bits of a sample."""
        code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", self.form[:16])
        if code == _EXTENSIBLE and len(self.form) >= 26:
            code = struct.unpack("<H", self.form[24:26])[0]
        return code, channels, rate, bits

    def with_samples(self, data: bytes) -> bytes:
        """A plain WAV file with these samples and true sizes."""
        form = b"fmt " + struct.pack("<I", len(self.form)) + self.form + bytes(len(self.form) % 2)
        body = b"WAVE" + form + b"data" + struct.pack("<I", len(data)) + data
        return b"RIFF" + struct.pack("<I", len(body)) + body


def is_wav(begun: bytes) -> bool:
    """Whether the first twelve bytes of a file are those of WAV."""
    return begun[:4] in NAMES and begun[8:12] == b"WAVE"


def read_header(handle: BinaryIO) -> WavHeader:
    """Read up to the first sample; UserError (without the file's name) when there is no such header."""
    begun = handle.read(12)
    if not is_wav(begun):
        raise UserError(f"{begun[:4].decode('latin-1')}, but not WAV")
    (riff,) = struct.unpack("<I", begun[4:8])
    at, form, long_size = 12, b"", None
    while len(chunk := handle.read(8)) == 8:
        name, (size,) = chunk[:4], struct.unpack("<I", chunk[4:])
        at += 8
        if name == b"data" and form:
            return WavHeader(form, at, _promised(riff, size, long_size, at))
        body = _body(handle, size + size % 2)
        at += size + size % 2
        if name == b"fmt ":
            form = body[:size]
        elif name == b"ds64" and len(body) >= 16:
            (long_size,) = struct.unpack("<Q", body[8:16])
        if name == b"fmt " and len(form) < 16:
            break
    raise UserError("damaged WAV header")


def _body(handle: BinaryIO, size: int) -> bytes:
    """A chunk's body; of a long one, which is no part of the format, the first bytes only."""
    kept = handle.read(min(size, 1 << 16))
    left = size - len(kept)
    while left > 0 and (piece := handle.read(min(left, 1 << 16))):
        left -= len(piece)
    return kept


def _promised(riff: int, size: int, long_size: int | None, at: int) -> int | None:
    """The bytes of samples, None where the writer did not know. `at`: where they begin."""
    if long_size is not None and size >= UNKNOWN_FROM:
        size = long_size if long_size < 1 << 62 else 0
        return size or None
    if size >= UNKNOWN_FROM:
        return None
    # 0 is of a header that was never completed, unless the size of the whole leaves room for small chunks alone.
    return size if size or at < riff + 8 <= at + _SMALL_CHUNKS else None


def check_size(header: WavHeader, received: int, width: int) -> None:
    """UserError when there were no samples, or fewer bytes of them than the header promises."""
    if header.size is not None and received < header.size // width * width:
        raise UserError(f"truncated audio, {received} bytes where its header promises {header.size}")
    if not received:
        raise UserError("no samples: it holds a header and no audio")


def check_rest(rest: bytes) -> None:
    """UserError when the bytes behind the samples are more audio, and no chunks of the file; the first `LOOK` do."""
    if rest[:4] in NAMES:
        raise UserError("a second WAV file follows the first; give each by itself")
    if len(rest) >= _MUCH and any(rest) and not all(32 <= byte < 127 for byte in rest[:4]):
        raise UserError("more audio follows than its header promises; repair it: sox --ignore-length IN OUT")


def decoder(header: WavHeader, rate: int) -> tuple[int, Callable[[bytes, int], Samples]]:
    """Bytes of a sample, and what makes samples in the range of 16-bit integers of whole ones (`from_floats`).

    UserError for another rate, several channels, or samples that are neither integers nor floats.
    """
    code, channels, found, bits = header.fields
    check_format(found, channels, rate)
    makers: dict[tuple[int, int], Callable[[bytes, int], Samples]] = {
        (_INTEGERS, 8): lambda data, _: (np.frombuffer(data, "u1").astype(np.float32) - 128) * 256,
        (_INTEGERS, 16): lambda data, _: np.frombuffer(data, "<i2").astype(np.float32),
        (_INTEGERS, 24): lambda data, _: _upper(data, 3),
        (_INTEGERS, 32): lambda data, _: _upper(data, 4),
        (_FLOATS, 32): lambda data, first: from_floats(np.frombuffer(data, "<f4"), first),
        (_FLOATS, 64): lambda data, first: from_floats(np.frombuffer(data, "<f8"), first),
    }
    if (code, bits) not in makers:
        raise UserError(f"WAV of format {code} with {bits} bits, expected 16-bit integers")
    return bits // 8, makers[code, bits]


def check_format(found: int, channels: int, rate: int) -> None:
    """UserError unless `found` is `rate` and there is one channel."""
    if found != rate:
        raise UserError(f"{found} Hz, expected {rate} Hz")
    if channels != 1:
        raise UserError(f"{channels} channels, expected mono")


def from_floats(values: NDArray[np.floating], first: int = 0) -> Samples:
    """Samples whose full scale is 1 as 16-bit integers, rounded, peaks beyond full scale kept. `first`: its number.

    UserError for a sample that is NaN or infinite, and for values that cannot have a full scale of 1.
    """
    bad = ~np.isfinite(values)
    if bad.any():
        k = int(np.argmax(bad))
        raise UserError(f"sample {first + k} (from 0) is {values[k]}, expected numbers; make the file again")
    peak = float(np.abs(values).max(initial=0.0))
    if peak > _LARGEST_FLOAT:
        raise UserError(
            f"floating-point samples up to {peak:g}, expected -1 to 1; if they are 16-bit integers, divide them by "
            "32768, or write them as integers"
        )
    return np.rint(32768.0 * values.astype(np.float64)).astype(np.float32)


def _upper(data: bytes, width: int) -> Samples:
    """The upper 16 bits of little-endian integers of `width` bytes."""
    pairs = np.ascontiguousarray(np.frombuffer(data, "u1").reshape(-1, width)[:, width - 2 :])
    return pairs.view("<i2")[:, 0].astype(np.float32)
