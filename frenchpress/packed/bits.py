"""Numbers of a few bits, one behind the other in bytes: least significant bit first, as in deflate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError


def pack_bits(numbers: NDArray[np.int64], bits: int) -> NDArray[np.uint8]:
    """Non-negative `numbers` below 2^bits -> their bits, uint8 zeros and ones [len(numbers) * bits]."""
    places = np.arange(bits, dtype=np.int64)
    return ((np.asarray(numbers, np.int64)[:, None] >> places) & 1).astype(np.uint8).ravel()


def to_bytes(*parts: NDArray[np.uint8]) -> bytes:
    """Bits one after the other, filled up with zeros to a whole number of bytes."""
    return np.packbits(np.concatenate(parts) if parts else np.zeros(0, np.uint8), bitorder="little").tobytes()


class BitReader:
    """Reads what `pack_bits` wrote; UserError when there is less than asked for."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        self._at = 0

    def take(self, count: int, bits: int) -> NDArray[np.int64]:
        """The next `count` numbers of `bits` bits, int64 [count]."""
        end = self._at + count * bits
        if end > len(self._bits):
            raise UserError(f"{end} bits are needed, but only {len(self._bits)} are there")
        piece = self._bits[self._at : end].reshape(count, bits).astype(np.int64)
        self._at = end
        return piece @ (1 << np.arange(bits, dtype=np.int64))

    @property
    def left(self) -> int:
        """Bits that were not taken yet."""
        return len(self._bits) - self._at

    def back(self, bits: int) -> None:
        """Take the last `bits` bits again."""
        self._at -= bits

    @property
    def bytes_used(self) -> int:
        """Bytes begun so far."""
        return -(-self._at // 8)

    def finish(self, size: int) -> None:
        """UserError unless the bits from here to the end of byte `size` are there and zero."""
        rest = self._bits[self._at : 8 * size]
        if len(rest) != 8 * size - self._at or rest.any():
            raise UserError("bits that fill up the last bytes are not zero")
