"""Streams of bits, written and read an array at a time: highest bit first in index codes, lowest in packed models."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frenchpress.common.errors import UserError

_VARINT_BYTES = 6
WIDEST = 32


def width_of(count: int) -> int:
    """Fewest bits that tell `count` things apart: ceil(log2 count), 0 for one thing or none."""
    return max(0, count - 1).bit_length()


def bits_needed(values: NDArray[np.int64]) -> int:
    """Fewest bits of the fixed code: 1 for -1 and +1 alone, else those of two's complement; UserError above 32."""
    if not values.size or np.all(np.abs(values) == 1):
        return 1
    low, high = min(int(values.min()), 0), max(int(values.max()), 0)
    bits = max(2, 1 + high.bit_length(), 1 + (-low - 1 if low else 0).bit_length())
    if bits > WIDEST:
        raise UserError(f"integers {values.min()} to {values.max()} need {bits} bits; at most {WIDEST} can be encoded")
    return bits


def pack_bits(numbers: ArrayLike, width: int, highest_first: bool = False) -> NDArray[np.uint8]:
    """Numbers in 0 .. 2^width - 1, `width` (0..62) bits each -> their bits, uint8 zeros and ones [len * width]."""
    values = np.atleast_1d(np.asarray(numbers, np.int64)).reshape(-1)
    part = np.empty((values.size, width), np.uint8)
    for place in range(width):
        part[:, place] = (values >> (width - 1 - place if highest_first else place)) & 1
    return part.ravel()


def to_bytes(*parts: NDArray[np.uint8], highest_first: bool = False) -> bytes:
    """Bits one after the other, the last byte filled up with zeros."""
    bits = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
    return np.packbits(bits, bitorder="big" if highest_first else "little").tobytes()


class BitWriter:
    """Collects bits, the highest of a number first; `bits` says how many there are."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint8]] = []
        self.bits = 0

    def put_bits(self, bits: NDArray[np.bool_]) -> None:
        """Append a bool or 0/1 array as it is, row by row."""
        part = np.asarray(bits).reshape(-1).astype(np.uint8)
        self._parts.append(part)
        self.bits += part.size

    def put(self, values: ArrayLike, width: int) -> None:
        """Append whole numbers in 0 .. 2^width - 1, `width` (0..62) bits each."""
        numbers = np.atleast_1d(np.asarray(values, np.int64)).reshape(-1)
        if numbers.size and (int(numbers.min()) < 0 or int(numbers.max()) >> width):
            raise ValueError(f"numbers {numbers.min()}..{numbers.max()} do not fit {width} bits")
        self.put_bits(pack_bits(numbers, width, highest_first=True))

    def put_codes(self, codes: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Append numbers of a length of their own each: the low `lengths[i]` bits of `codes[i]`."""
        ends = np.cumsum(lengths)
        starts = ends - lengths
        part = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
        for place in range(int(lengths.max(initial=0))):
            here = lengths > place
            part[starts[here] + place] = (codes[here] >> (lengths[here] - 1 - place)) & 1
        self.put_bits(part)

    def put_varint(self, value: int) -> None:
        """Append a number of 0 .. 2^42 - 1, seven bits to a byte, the low ones first (LEB128)."""
        if not 0 <= value < 1 << 7 * _VARINT_BYTES:
            raise ValueError(f"{value} does not fit {_VARINT_BYTES} bytes")
        while value >= 128:
            self.put(value & 127 | 128, 8)
            value >>= 7
        self.put(value, 8)

    def put_signed(self, value: int) -> None:
        """Append a number of -2^41 .. 2^41 - 1 as a varint: 0, -1, 1, -2, ... are 0, 1, 2, 3, ..."""
        self.put_varint(2 * value if value >= 0 else -2 * value - 1)

    def to_bytes(self) -> bytes:
        """All bits, the last byte filled up with zeros."""
        return to_bytes(*self._parts, highest_first=True)


class BitReader:
    """Reads bits; UserError, before anything is allocated, when there are too few.

    `highest_first`: of each number, and of each byte; what a BitWriter wrote. `what` begins the errors.
    """

    def __init__(self, data: bytes | memoryview, highest_first: bool = True, what: str = "encoded matrix: ") -> None:
        order = "big" if highest_first else "little"
        self._bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder=order)
        self._highest_first, self._what = highest_first, what
        self.position = 0

    @property
    def left(self) -> int:
        """Bits not read yet."""
        return self._bits.size - self.position

    @property
    def bytes_used(self) -> int:
        """Bytes begun so far."""
        return -(-self.position // 8)

    def peek_all(self) -> NDArray[np.uint8]:
        """All bits not read yet, uint8 of 0 and 1; the position stays."""
        return self._bits[self.position :]

    def take_bits(self, count: int) -> NDArray[np.uint8]:
        """The next `count` bits, uint8 of 0 and 1."""
        if count > self.left:
            raise UserError(f"{self._what}cut off or damaged ({count} bits wanted, {self.left} left)")
        self.position += count
        return self._bits[self.position - count : self.position]

    def take(self, count: int, width: int) -> NDArray[np.int64]:
        """The next `count` numbers of `width` (0..62) bits, int64. With no width, `count` zeros."""
        part = self.take_bits(count * width).reshape(count, width)
        numbers = np.zeros(count, np.int64)
        for place in range(width):
            numbers <<= 1
            numbers |= part[:, place if self._highest_first else width - 1 - place]
        return numbers

    def back(self, count: int) -> None:
        """Take the last `count` bits again."""
        self.position -= count

    def finish(self, size: int) -> None:
        """UserError unless the bits from here to the end of byte `size` are there and zero."""
        rest = self._bits[self.position : 8 * size]
        if len(rest) != 8 * size - self.position or rest.any():
            raise UserError("bits that fill up the last bytes are not zero")

    def take_one(self, width: int) -> int:
        """The next number of `width` bits."""
        return int(self.take(1, width)[0])

    def take_varint(self) -> int:
        """The next number that `put_varint` wrote."""
        value = 0
        for place in range(_VARINT_BYTES):
            byte = self.take_one(8)
            value |= (byte & 127) << 7 * place
            if byte < 128:
                return value
        raise UserError("encoded matrix: damaged (a number that does not end)")

    def take_signed(self) -> int:
        """The next number that `put_signed` wrote."""
        value = self.take_varint()
        return -(value + 1) // 2 if value & 1 else value // 2

    def align(self) -> None:
        """Go on at the next whole byte."""
        self.position = -(-self.position // 8) * 8
