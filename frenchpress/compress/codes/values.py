"""Codes of the kept integers: a fixed number of bits each, as numbers or as places in a table, or Huffman."""

from __future__ import annotations

import heapq
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, BitWriter, bits_needed, width_of
from frenchpress.compress.codes.codebook import Codebook

Values = NDArray[np.int64]
# No tree over fewer than 2^31 values is deeper: each level takes the next Fibonacci number of them.
_DEEPEST = 44
_DEPTH_BITS = 3


class ValueCode(Protocol):
    """Writes integers and reads them back; how many there are is known from the mask."""

    def bits_needed(self, values: Values) -> int:
        """Fewest `bits` that `write` takes for these values; UserError where none do."""

    def write(self, values: Values, bits: int, out: BitWriter) -> None:
        """Append `values`, int64 [k], which fit `bits` bits."""

    def read(self, count: int, source: BitReader) -> Values:
        """The next `count` values, int64; UserError on bytes that no values have."""


class Fixed:
    """Every value in two's complement of so many bits; one bit is the pair -1, +1."""

    def bits_needed(self, values: Values) -> int:
        """Those of two's complement."""
        return bits_needed(values)

    def write(self, values: Values, bits: int, out: BitWriter) -> None:
        """Append the number of bits, then the values."""
        out.put(bits - 1, 5)
        out.put(values > 0 if bits == 1 else values & ((1 << bits) - 1), bits)

    def read(self, count: int, source: BitReader) -> Values:
        """The number of bits, then the values."""
        bits = source.take_one(5) + 1
        numbers = source.take(count, bits)
        if bits == 1:
            return 2 * numbers - 1
        return numbers - ((numbers >> (bits - 1)) << bits)


class Huffman:
    """Canonical Huffman code of the values of one matrix; its table, the length of each value's code, is counted.

    The table lists either all integers from the smallest value to the largest, or those that occur, whichever is
    shorter. A value that is alone takes one bit each time. The number of bits of a value says nothing here.
    """

    def bits_needed(self, values: Values) -> int:
        """1, as any number does; UserError for values of more than 32 bits."""
        return min(1, bits_needed(values))

    def write(self, values: Values, bits: int, out: BitWriter) -> None:
        """Append the table, then the codes."""
        if not values.size:
            return
        symbols, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        lengths = code_lengths(counts)
        _put_table(symbols, lengths, out)
        codes, _ = _canonical(lengths)
        out.put_codes(codes[place.reshape(-1)], lengths[place.reshape(-1)])

    def read(self, count: int, source: BitReader) -> Values:
        """The table, then the codes."""
        if not count:
            return np.zeros(0, np.int64)
        symbols, lengths = _take_table(source)
        if len(symbols) > 1:
            return symbols[_take_codes(count, lengths, source)]
        if source.take_bits(count).any():
            raise UserError("encoded matrix: damaged (a code that is no value's)")
        return np.full(count, symbols[0])


# The place in this list is written into the bytes; add at the end.
VALUE_CODES: dict[str, ValueCode] = {"fixed": Fixed(), "huffman": Huffman(), "codebook": Codebook()}


def plain_value_code(values: Values, bits: int) -> str:
    """Name of the code that writes each of `values` in `bits` bits: `fixed`, or `codebook` if they are too wide."""
    return "fixed" if bits_needed(values) <= bits else "codebook"


def code_lengths(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Huffman code length of each symbol that occurs `counts` (above 0) times; 1 for a single symbol."""
    size = len(counts)
    if size == 1:
        return np.ones(1, np.int64)
    parent = np.zeros(2 * size - 1, np.int64)
    heap = [(int(count), node) for node, count in enumerate(counts)]
    heapq.heapify(heap)
    for node in range(size, 2 * size - 1):
        (a, left), (b, right) = heapq.heappop(heap), heapq.heappop(heap)
        parent[left] = parent[right] = node
        heapq.heappush(heap, (a + b, node))
    depth = np.zeros(2 * size - 1, np.int64)
    for node in range(2 * size - 3, -1, -1):
        depth[node] = depth[parent[node]] + 1
    return depth[:size]


def _canonical(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Code of each symbol, and the symbols in order of code: by length, then by value."""
    order = np.argsort(lengths, kind="stable")
    spans = np.int64(1) << (lengths.max() - lengths[order])
    codes = np.empty_like(lengths)
    codes[order] = (np.cumsum(spans) - spans) >> (lengths.max() - lengths[order])
    return codes, order


def _put_table(symbols: Values, lengths: NDArray[np.int64], out: BitWriter) -> None:
    low, span = int(symbols[0]), int(symbols[-1] - symbols[0]) + 1
    depth = int(lengths.max()).bit_length()
    listed = len(symbols) * (width_of(span) + depth) + 8 < span * depth
    out.put_signed(low)
    out.put_varint(span)
    out.put(depth, _DEPTH_BITS)
    out.put(listed, 1)
    if listed:
        out.put_varint(len(symbols))
        out.put(symbols - low, width_of(span))
        out.put(lengths, depth)
    else:
        every = np.zeros(span, np.int64)
        every[symbols - low] = lengths
        out.put(every, depth)


def _take_table(source: BitReader) -> tuple[Values, NDArray[np.int64]]:
    """Symbols in ascending order and the length of their codes; UserError unless they are a whole tree."""
    low, span = source.take_signed(), source.take_varint()
    depth, listed = source.take_one(_DEPTH_BITS), source.take_one(1)
    if not depth or not span:
        raise UserError("encoded matrix: damaged (an empty Huffman table)")
    if listed:
        count = source.take_varint()
        if count > source.left:
            raise UserError("encoded matrix: cut off or damaged (a Huffman table longer than what is left)")
        symbols, lengths = source.take(count, width_of(span)), source.take(count, depth)
    else:
        every = source.take(span, depth)
        symbols = np.flatnonzero(every)
        lengths = every[symbols]
    alone = len(lengths) == 1 and lengths[0] == 1
    whole = alone or (len(lengths) > 1 and np.ldexp(1.0, -lengths).sum() == 1.0)
    if not whole or lengths.min() < 1 or lengths.max() > _DEEPEST or np.any(np.diff(symbols) <= 0):
        raise UserError("encoded matrix: damaged (a Huffman table that is no tree)")
    return symbols + low, lengths


def _take_codes(count: int, lengths: NDArray[np.int64], source: BitReader) -> NDArray[np.int64]:
    """Symbol numbers of the next `count` codes.

    What a code would be is looked up at every bit at once; then only the steps from code to code are walked.
    """
    ahead, deepest = source.peek_all(), int(lengths.max())
    window = np.zeros(len(ahead), np.int64)
    for place in range(deepest):
        window <<= 1
        window[: max(0, len(ahead) - place)] |= ahead[place:]
    _, order = _canonical(lengths)
    spans = np.int64(1) << (deepest - lengths[order])
    found = order[np.searchsorted(np.cumsum(spans), window, side="right")]
    places, end = _walk(count, lengths[found].astype(np.uint8).tobytes())
    source.take_bits(end)
    return found[places]


def _walk(count: int, steps: bytes) -> tuple[list[int], int]:
    """The first `count` places of the walk from 0 on, each `steps` at its place on; and where it ends."""
    places, place, end = [], 0, len(steps)
    for _ in range(count):
        if place >= end:
            raise UserError("encoded matrix: cut off or damaged (fewer values than kept weights)")
        places.append(place)
        place += steps[place]
    return places, place
