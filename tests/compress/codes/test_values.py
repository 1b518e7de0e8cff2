import heapq

import numpy as np
import pytest

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, BitWriter, width_of
from frenchpress.compress.codes import VALUE_CODES, plain_value_code, value_entropy
from frenchpress.compress.codes.values import bits_needed, code_lengths

# Levels of powers of two, of ranks, of two sums, one alone, and the widest.
LEVELS = [
    [-4, -2, -1, 0, 1, 2, 4],
    [-7, -5, -3, -1, 1, 3, 5, 7],
    [0, 1, 4, 8, 9, 12, 16, 24],
    [5],
    [-1, 1],
    [-(2**31), 2**31 - 1],
    [-(2**30), *range(-3, 4), 2**30],
]


def written(name, values, bits=16):
    out = BitWriter()
    VALUE_CODES[name].write(np.asarray(values, np.int64), bits, out)
    return out


def read_back(name, values):
    out = written(name, values)
    return VALUE_CODES[name].read(len(values), BitReader(out.to_bytes()))


def test_bit_streams_return_what_was_put():
    rng = np.random.default_rng(0)
    out, put = BitWriter(), []
    for width in (0, 1, 3, 8, 17, 62):
        numbers = rng.integers(0, 2**width, 11)
        out.put(numbers, width)
        put.append((numbers, width))
    for number in (0, 127, 128, 2**42 - 1):
        out.put_varint(number)
    source = BitReader(out.to_bytes())
    for numbers, width in put:
        assert np.array_equal(source.take(11, width), numbers)
    assert [source.take_varint() for _ in range(4)] == [0, 127, 128, 2**42 - 1]
    assert source.left < 8
    with pytest.raises(UserError, match="cut off"):
        source.take(1, 9)
    with pytest.raises(ValueError, match="do not fit"):
        out.put(4, 2)


def test_width_of():
    assert [width_of(n) for n in (0, 1, 2, 3, 4, 5, 16, 17)] == [0, 0, 1, 2, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "values, bits",
    [
        ([], 1),
        ([1, -1], 1),
        ([0], 2),
        ([1, 0], 2),
        ([-2], 2),
        ([2], 3),
        ([7], 4),
        ([-8, -7], 4),
        ([-128, 127], 8),
        ([128], 9),
        ([-129], 9),
    ],
)
def test_bits_needed(values, bits):
    assert bits_needed(np.array(values, np.int64)) == bits


def test_fixed_takes_its_bits():
    assert written("fixed", [3, -4, 0], 3).bits == 5 + 9


def test_huffman_takes_the_bits_of_the_textbook():
    # Counts 4, 2, 1, 1: lengths 1, 2, 3, 3. Table: low and span a byte each, 3 + 1 bits, 4 lengths of 2 bits.
    values = [0, 0, 0, 0, 1, 1, 2, 3]
    assert written("huffman", values).bits == (8 + 8 + 3 + 1 + 4 * 2) + (4 + 4 + 3 + 3)


@pytest.mark.parametrize("seed", range(10))
def test_huffman_lengths_are_optimal(seed):
    counts = np.random.default_rng(seed).integers(1, 1000, 1 + seed * 7)
    lengths = code_lengths(counts)
    heap = counts.tolist()
    heapq.heapify(heap)
    cost = 0 if len(heap) > 1 else heap[0]
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        cost += merged
        heapq.heappush(heap, merged)
    assert (counts * lengths).sum() == cost


def test_huffman_of_very_uneven_counts():
    # Fibonacci counts give the deepest tree.
    counts = [1, 1]
    while len(counts) < 22:
        counts.append(counts[-1] + counts[-2])
    values = np.random.default_rng(0).permutation(np.repeat(np.arange(22) - 11, counts))
    assert np.array_equal(read_back("huffman", values), values)
    assert code_lengths(np.array(counts)).max() == 21


def test_huffman_lists_values_that_lie_far_apart():
    values = np.array([-(2**31), 0, 0, 2**31 - 1])
    assert np.array_equal(read_back("huffman", values), values)
    assert written("huffman", values).bits < 300


@pytest.mark.parametrize("spread", [0.5, 5, 50, 5000])
def test_huffman_is_within_a_bit_of_the_entropy(spread):
    values = np.round(np.random.default_rng(1).normal(0, spread, 20000)).astype(np.int64)
    assert np.array_equal(read_back("huffman", values), values)
    codes = (code_lengths(np.unique(values, return_counts=True)[1])[np.unique(values, return_inverse=True)[1]]).sum()
    assert value_entropy(values) <= codes <= value_entropy(values) + len(values)


@pytest.mark.parametrize("levels", LEVELS)
def test_codebook_returns_levels_that_are_wider_than_their_places(levels):
    bits = max(1, (len(levels) - 1).bit_length())
    values = np.random.default_rng(4).choice(levels, 200)
    values[: len(levels)] = levels
    assert VALUE_CODES["codebook"].bits_needed(values) == bits
    for width in (bits, bits + 1, 32):
        out = written("codebook", values, width)
        assert np.array_equal(VALUE_CODES["codebook"].read(200, BitReader(out.to_bytes())), values)


def test_codebook_takes_its_table_and_its_bits():
    # 5 bits of width; a byte for the smallest level, the number of levels and the smallest step, 6 bits of width.
    assert written("codebook", [-3, -1, 1, 3, 3], 2).bits == 5 + (3 * 8 + 6) + 5 * 2
    # Steps 1, 3, 4: up to 3 more than the smallest, 2 bits each.
    assert written("codebook", [0, 1, 4, 8], 2).bits == 5 + (3 * 8 + 6 + 3 * 2) + 4 * 2
    assert written("codebook", []).bits == 0


@pytest.mark.parametrize(
    "low, count, least, width, words",
    [(0, 0, 1, 0, "a table of 0 levels"), (0, 6, 1, 0, "a table of 6 levels for 5 values"), (0, 2, 0, 0, "damaged")]
    + [(0, 2, 2**40, 0, "damaged"), (0, 2, 1, 50, "damaged"), (0, 3, 1, 0, "level 3 of 3"), (0, 5, 1, 33, "cut off")],
)
def test_damaged_codebooks(low, count, least, width, words):
    out = BitWriter()
    out.put(1, 5)
    out.put_signed(low)
    out.put_varint(count)
    out.put_varint(least)
    out.put(width, 6)
    out.put([0, 1, 2, 3, 0], 2)
    with pytest.raises(UserError, match=words):
        VALUE_CODES["codebook"].read(5, BitReader(out.to_bytes()))


@pytest.mark.parametrize("name", VALUE_CODES)
def test_values_of_more_than_32_bits_are_refused(name):
    with pytest.raises(UserError, match="need 33 bits"):
        VALUE_CODES[name].bits_needed(np.array([2**31]))


def test_plain_code_is_the_integers_where_they_fit():
    assert [plain_value_code(np.array([-4, 3]), bits) for bits in (2, 3, 4)] == ["codebook", "fixed", "fixed"]
    assert plain_value_code(np.array([-1, 1]), 1) == "fixed"


def test_signed_numbers():
    out, numbers = BitWriter(), [0, -1, 1, -64, 64, -(2**41), 2**41 - 1]
    for number in numbers:
        out.put_signed(number)
    source = BitReader(out.to_bytes())
    assert [source.take_signed() for _ in numbers] == numbers and not source.left


def test_entropy_of_known_values():
    assert value_entropy(np.array([1, 2, 3, 4])) == 8
    assert value_entropy(np.array([7, 7, 7])) == 0
    assert value_entropy(np.zeros(0, np.int64)) == 0
