"""The primitives of Kaldi's binary files: tokens, sized numbers, vectors, matrices (little-endian)."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from frenchpress.common import UserError, atomic_path

HEADER = b"\0B"
_FLOATS = {"F": np.dtype("<f4"), "D": np.dtype("<f8")}
_LETTERS = {np.dtype("<f4"): "F", np.dtype("<f8"): "D"}


class BinaryReader:
    """Reads one whole Kaldi binary file; anything unexpected is a UserError naming file and byte."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self._data = self.path.read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            raise UserError(f"{path}: no such file") from None
        if not self._data.startswith(HEADER):
            raise UserError(f"{path}: not a Kaldi binary file (text is converted by Kaldi's copy tools)")
        self._at = len(HEADER)

    def fail(self, wrong: str) -> UserError:
        """A UserError about the present position, to be raised."""
        return UserError(f"{self.path}: byte {self._at}: {wrong}")

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if count < 0 or end > len(self._data):
            raise self.fail("file is cut short or damaged")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def at_end(self) -> bool:
        """True when everything is read."""
        return self._at == len(self._data)

    def peek_token(self) -> str:
        """The next token, left unread."""
        end = self._data.find(b" ", self._at, self._at + 80)
        if end < 0:
            raise self.fail("expected a token; file is cut short or damaged")
        return self._data[self._at : end].decode("ascii", "replace")

    def token(self) -> str:
        """The next token."""
        found = self.peek_token()
        self._at += len(found.encode("utf-8")) + 1
        return found

    def expect(self, *tokens: str) -> str:
        """The next token, which must be one of these."""
        found = self.peek_token()
        if found not in tokens:
            raise self.fail(f"expected {' or '.join(tokens)}, found {found[:20]!r}")
        return self.token()

    def _sized(self, size: int, layout: str) -> int | float:
        if self._take(1) != struct.pack("b", size):
            raise self.fail("a number has an unexpected size; file is damaged or of another type")
        return struct.unpack(layout, self._take(abs(size)))[0]

    def int32(self) -> int:
        """A signed 32-bit integer."""
        return int(self._sized(4, "<i"))

    def uint32(self) -> int:
        """An unsigned 32-bit integer."""
        return int(self._sized(-4, "<I"))

    def float32(self) -> float:
        """A single-precision number."""
        return float(self._sized(4, "<f"))

    def int_vector(self) -> list[int]:
        """A list of 32-bit integers."""
        if self._take(1) != b"\4":
            raise self.fail("expected a vector of 32-bit integers")
        (count,) = struct.unpack("<i", self._take(4))
        return np.frombuffer(self._take(4 * count), "<i4").tolist()

    def vector(self) -> np.ndarray:
        """A vector of floats, [N], in the precision stored."""
        kind = self.expect("FV", "DV")
        dtype = _FLOATS[kind[0]]
        return np.frombuffer(self._take(dtype.itemsize * self.int32()), dtype).copy()

    def matrix(self) -> np.ndarray:
        """A matrix of floats, [rows, columns], in the precision stored."""
        kind = self.expect("FM", "DM")
        dtype = _FLOATS[kind[0]]
        rows, columns = self.int32(), self.int32()
        flat = np.frombuffer(self._take(dtype.itemsize * rows * columns), dtype)
        return flat.reshape(rows, columns).copy()


class BinaryWriter:
    """Collects the pieces of a Kaldi binary file; `save` writes it whole."""

    def __init__(self, header: bool = True) -> None:
        self._pieces = [HEADER] if header else []

    def token(self, text: str) -> None:
        """A token and its space."""
        self._pieces.append(text.encode("ascii") + b" ")

    def int32(self, value: int) -> None:
        """A signed 32-bit integer."""
        self._pieces.append(b"\4" + struct.pack("<i", value))

    def uint32(self, value: int) -> None:
        """An unsigned 32-bit integer."""
        self._pieces.append(b"\xfc" + struct.pack("<I", value))

    def float32(self, value: float) -> None:
        """A single-precision number."""
        self._pieces.append(b"\4" + struct.pack("<f", value))

    def int_vector(self, values: list[int]) -> None:
        """A list of 32-bit integers."""
        self._pieces.append(b"\4" + struct.pack("<i", len(values)) + np.asarray(values, "<i4").tobytes())

    def vector(self, values: np.ndarray) -> None:
        """A vector of floats, [N], as float32 or float64 after its dtype."""
        letter, values = _kaldi_floats(values)
        self.token(letter + "V")
        self.int32(values.shape[0])
        self._pieces.append(values.tobytes())

    def matrix(self, values: np.ndarray) -> None:
        """A matrix of floats, [rows, columns], as float32 or float64 after its dtype."""
        letter, values = _kaldi_floats(values)
        self.token(letter + "M")
        self.int32(values.shape[0])
        self.int32(values.shape[1])
        self._pieces.append(values.tobytes())

    def bytes(self) -> bytes:
        """Everything so far."""
        return b"".join(self._pieces)

    def save(self, path: Path | str) -> None:
        """Write the file, whole or not at all."""
        with atomic_path(path) as temporary:
            temporary.write_bytes(self.bytes())


def _kaldi_floats(values: np.ndarray) -> tuple[str, np.ndarray]:
    dtype = values.dtype if values.dtype in _LETTERS else np.dtype("<f4")
    return _LETTERS[dtype], np.ascontiguousarray(values, dtype)
