"""Numbers of combinations against itertools, and masks of blocks that keep equally many."""

import itertools
import math

import numpy as np
import pytest

from frenchpress.common import UserError
from frenchpress.common.combinations import Counted, number_bits, ranks, unranks


@pytest.mark.parametrize("size, kept", [(1, 0), (1, 1), (5, 0), (6, 2), (7, 5), (8, 4), (9, 9), (32, 2)])
def test_numbers_are_those_of_the_ordered_combinations(size, kept):
    """Ordered by the highest place, then the next; where more than half is kept, those of the removed places."""
    fewer = min(kept, size - kept)
    places = sorted(itertools.combinations(range(size), fewer), key=lambda c: c[::-1])
    blocks = np.zeros((len(places), size), bool)
    for block, chosen in zip(blocks, places):
        block[list(chosen)] = True
    blocks = blocks if kept == fewer else ~blocks
    assert np.array_equal(ranks(blocks, kept), np.arange(math.comb(size, kept)))
    assert np.array_equal(unranks(np.arange(len(places)), size, kept), blocks)
    with pytest.raises(UserError, match="number"):
        unranks(np.array([len(places)]), size, kept)


def test_bits_of_a_number():
    assert [number_bits(32, 2), number_bits(64, 1), number_bits(24, 2), number_bits(7, 7)] == [9, 6, 9, 0]
    assert number_bits(64, 32) == 61 and number_bits(65535, 65531) == 60
    for size, kept in ((100, 30), (66, 33), (1 << 16, 1 << 15), (1 << 17, 1), (4, 5)):
        with pytest.raises(UserError):
            number_bits(size, kept)


def drawn(shape, block, share, seed=0):
    """Every block keeps `share` of its places, rounded half up."""
    rng, mask = np.random.default_rng(seed), np.zeros(shape, bool)
    for top in range(0, shape[0], block[0]):
        for left in range(0, shape[1], block[1]):
            piece = mask[top : top + block[0], left : left + block[1]]
            piece.flat = rng.permutation(piece.size) < int(share * piece.size + 0.5)
    return mask


SHAPES = [
    ((64, 440), (1, 32)), ((37, 53), (4, 8)), ((37, 53), (1, 7)), ((6, 6), (6, 6)), ((1, 1), (1, 1)), ((5, 9), (9, 2)),
]  # fmt: skip


@pytest.mark.parametrize("highest_first", [True, False])
@pytest.mark.parametrize("shape, block", SHAPES)
def test_masks_come_back(shape, block, highest_first):
    for share in (0, 1 / 16, 0.3, 0.8, 1):
        mask = drawn(shape, block, share)
        form = Counted.of(mask, block)
        form.check(shape)
        bits = form.write(mask, highest_first)
        source = iter(bits)

        def take(count, source=source):
            return np.array([next(source) for _ in range(count)], np.uint8)

        assert np.array_equal(form.read(shape, take, highest_first), mask) and next(source, None) is None


def test_two_of_32_take_four_and_a_half_bits_a_weight():
    mask = drawn((1928, 440), (1, 32), 2 / 32)
    form = Counted.of(mask, (1, 32))
    assert form.counts == (2, 2, 0, 0) and mask.sum() == 1928 * 28
    assert len(form.write(mask, True)) == 4.5 * mask.sum()


def test_counts_that_differ_are_refused():
    mask = drawn((8, 64), (1, 32), 2 / 32)
    mask[3, 40] ^= True
    with pytest.raises(UserError, match="blocks of 1 x 32 keep from"):
        Counted.of(mask, (1, 32))
    for height, width, counts in ((0, 4, (1, 0)), (1, 5, (1, 0)), (2, 2, (5, 0)), (2, 2, (1, 1))):
        with pytest.raises(UserError):
            Counted(height, width, (*counts, 0, 0)).check((4, 4))
