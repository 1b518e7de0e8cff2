"""Bit counts of each index code against counts by hand."""

import math

import numpy as np
import pytest
import torch
from hcgs_index import hcgs_index_bits
from mask_cases import hcgs_mask

from frenchpress.common import UserError
from frenchpress.compress.codes import (
    INDEX_CODES,
    decode,
    encode,
    encode_parts,
    hcgs_bound,
    make_index_code,
    mask_bound,
)
from frenchpress.compress.sparsity import HierarchyMask


def index_bits(mask, name, **options):
    integers = np.zeros(mask.shape, np.int64)
    return encode_parts(integers, mask, make_index_code(name, **options)).index_bits


def mask_of(shape, *places):
    mask = np.zeros(shape, np.bool_)
    for place in places:
        mask[place] = True
    return mask


EXAMPLE = mask_of((4, 8), (0, 1), (0, 5), (3, 7))


@pytest.mark.parametrize(
    "name, options, bits",
    [
        ("bitmap", {}, 32),
        # The count of 32 + 1 possible ones takes 6 bits.
        ("coo", {}, 6 + 3 * (2 + 3)),
        ("csr", {}, 6 + 3 * 2 + 3 * 3),
        ("csc", {}, 6 + 7 * 2 + 3 * 2),
        # Runs 1, 3, 25. With 3 bits 7 goes on: 1, 3, 7 7 7 4.
        ("run_length", {"width": 3}, 5 + 6 + 6 * 3),
        ("run_length", {"width": 5}, 5 + 6 + 3 * 5),
        # 2 x 4 blocks of side 2, at most one kept in each: a bit per block, 2 bits per place.
        ("block_coo", {"side": 2}, 8 + 5 + 8 * 1 + 3 * 2),
    ],
)
def test_small_example(name, options, bits):
    assert index_bits(EXAMPLE, name, **options) == bits


def test_full_takes_nothing():
    assert index_bits(np.ones((3, 3), np.bool_), "full") == 0


def test_bytes_of_a_whole_matrix():
    integers = np.where(EXAMPLE, 5, 0)
    # Header: code, rows, columns, gates. Index 27 bits. Values: 5 bits for their width, 3 times 4 bits.
    parts = encode_parts(integers, EXAMPLE, make_index_code("coo"))
    assert (len(parts.header), parts.index_bits, len(parts.index), len(parts.values)) == (4, 21, 3, 3)
    assert encode(integers, EXAMPLE, make_index_code("coo")) == parts.data and len(parts.data) == 10


@pytest.mark.parametrize("density", [0, 0.001, 0.01, 0.06, 0.3, 0.7, 1])
def test_run_length_finds_the_best_width(density):
    mask = np.random.default_rng(0).random((60, 70)) < density
    found = make_index_code("run_length").fit(mask)
    every = {width: index_bits(mask, "run_length", width=width) for width in range(1, 33)}
    assert index_bits(mask, "run_length") == index_bits(mask, "run_length", width=found.width) == min(every.values())


@pytest.mark.parametrize("density", [0, 0.01, 0.1, 0.5, 1])
def test_block_coo_finds_the_best_power_of_two(density):
    mask = np.random.default_rng(0).random((60, 70)) < density
    best = min(index_bits(mask, "block_coo", side=2**n) for n in range(9))
    assert index_bits(mask, "block_coo") == best


def test_pattern_counts_dictionary_escapes_and_left_overs():
    # 5 x 7: six 2 x 2 blocks, a right strip of 4 x 1, a bottom strip of 1 x 7.
    mask = np.zeros((5, 7), np.bool_)
    mask[0:2, 0:2] = mask[2:4, 2:4] = True
    mask[0, 5] = mask[4, 3] = mask[2, 6] = True
    patterns = np.array([[[0, 0], [0, 0]], [[1, 1], [1, 1]]], np.bool_)
    # One block matches neither pattern: three numbers, 2 bits each, and its 4 bits.
    head = 2 * 6 + 16 + 1
    assert index_bits(mask, "pattern", patterns=patterns) == head + 8 + 6 * 2 + 4 + 11
    mask[0, 5] = False
    assert index_bits(mask, "pattern", patterns=patterns) == head + 8 + 6 * 1 + 11


def test_pattern_finds_the_cheapest_dictionary():
    mask = hcgs_mask((96, 64), (16, 4), (0.5, 0.5), torch.Generator().manual_seed(0)).numpy()
    mask[0, 0] ^= True
    best = index_bits(mask, "pattern")
    for side in (2, 4, 8):
        blocks = mask.reshape(96 // side, side, 64 // side, side).transpose(0, 2, 1, 3).reshape(-1, side, side)
        patterns, counts = np.unique(blocks, axis=0, return_counts=True)
        order = np.argsort(-counts)
        for number in range(len(patterns) + 1):
            assert index_bits(mask, "pattern", patterns=patterns[order[:number]]) >= best
    found = make_index_code("pattern").fit(mask)
    assert index_bits(mask, "pattern", patterns=found.patterns) == best


HCGS_CASES = [
    ((512, 440), (32, 2), ("4/16", "4/16")),
    ((100, 70), (16, 3), ("1/2", "1/3")),
    ((48, 512), (64, 4), (0.5, 0.75)),
    ((64, 64), (8,), ("1/4",)),
    ((64, 64), (16, 8, 2), (0.5, 0.5, 0.5)),
    ((30, 30), (7, 7), (0.5, 1)),
]


def hcgs_header_bits(columns, blocks):
    """A byte for the number of masks, of levels and each side; the kept counts of every width that occurs."""
    total, sizes = 8 * (2 + len(blocks)), {columns}
    for side in blocks:
        total += sum(number.bit_length() for number in {math.ceil(size / side) for size in sizes})
        sizes = {min(side, size - start) for size in sizes for start in range(0, size, side)}
    return total


@pytest.mark.parametrize("shape, blocks, keep", HCGS_CASES)
def test_hcgs_agrees_with_the_size_accounting_to_the_bit(shape, blocks, keep):
    mask = hcgs_mask(shape, blocks, keep, torch.Generator().manual_seed(1))
    counted = index_bits(mask.numpy(), "hcgs", blocks=blocks) - hcgs_header_bits(shape[1], blocks)
    assert counted == hcgs_index_bits(mask, blocks)


def test_hcgs_of_blocks_that_are_not_square():
    method = HierarchyMask(blocks=[[16, 8], [4, 2]], keep=["1/2", "1/2"])
    mask = method.make((64, 64), torch.Generator().manual_seed(6)).numpy()
    # 4 rows of blocks keep 4 of 8; each of the 16 has 4 rows that keep 2 of 4. Before it a byte for the number of
    # masks, of levels and each height and width, then the two counts.
    numbers, counts = 4 * 4 * 3 + 16 * 4 * 2 * 2, 4 + 3
    assert index_bits(mask, "hcgs", blocks=((16, 8), (4, 2))) == 8 * 6 + counts + numbers
    assert make_index_code("hcgs", blocks=((16, 8), (4, 4))).options == "16 x 8, 4"
    assert hcgs_bound(mask, ((16, 8), (4, 2))) == pytest.approx(4 * math.log2(70) + 64 * math.log2(6))
    with pytest.raises(UserError, match="not a mask of blocks 8 x 16, 4 x 2"):
        index_bits(mask, "hcgs", blocks=((8, 16), (4, 2)))


def test_hcgs_bytes_of_square_blocks_stay_as_they_were():
    mask = np.kron(np.eye(2, dtype=np.bool_), np.ones((2, 2), np.bool_))
    data = encode(np.zeros((4, 4), np.int64), mask, make_index_code("hcgs", blocks=(2, 1)))
    # Code 8, 4 x 4, 1 gate; 1 mask, 2 levels, 2, 1; then 1 of 2 and 2 of 2 are kept, 0; 0 1, 0 1, 1; 0 1, 0 1.
    assert data[:8] == bytes([8, 4, 4, 1, 1, 2, 2, 1])
    assert data[8:10] == bytes([0b01_10_0_0_1_0, 0b1_1_0_1_0_1_00])


def test_hcgs_masks_of_stacked_matrices_are_cut_one_by_one():
    generator = torch.Generator().manual_seed(2)
    parts = [hcgs_mask((50, 40), (16, 2), (0.5, 0.25), generator) for _ in range(4)]
    mask = torch.cat(parts).numpy()
    bits = index_bits(mask, "hcgs", blocks=(16, 2), stacked=4) - hcgs_header_bits(40, (16, 2))
    assert bits == sum(hcgs_index_bits(part, (16, 2)) for part in parts)
    data = encode(np.zeros(mask.shape, np.int64), mask, make_index_code("hcgs", blocks=(16, 2), stacked=4))
    assert np.array_equal(decode(data)[1], mask)


def test_hcgs_refuses_other_masks():
    mask = hcgs_mask((64, 64), (16, 4), (0.5, 0.5), torch.Generator().manual_seed(3)).numpy()
    full = np.flatnonzero(mask)
    damaged = mask.copy()
    damaged.reshape(-1)[full[0]] = False
    with pytest.raises(UserError, match="a block of 4 is kept in part"):
        index_bits(damaged, "hcgs", blocks=(16, 4))
    uneven = mask.copy()
    uneven[:16] = False
    with pytest.raises(UserError, match="not a mask of blocks .* use another code"):
        index_bits(uneven, "hcgs", blocks=(16, 4))
    with pytest.raises(UserError, match="64 rows are not 3 masks"):
        index_bits(mask, "hcgs", blocks=(16, 4), stacked=3)
    with pytest.raises(UserError, match="none larger than the one before"):
        make_index_code("hcgs", blocks=(4, 16))


@pytest.mark.parametrize(
    "name, options",
    [
        ("run_length", {"width": 0}),
        ("run_length", {"width": 33}),
        ("block_coo", {"side": 0}),
        ("block_coo", {"side": 257}),
        ("pattern", {"patterns": np.zeros((2, 3, 3), np.bool_)}),
        ("pattern", {"patterns": np.zeros((1, 65, 3), np.bool_)}),
        ("pattern", {"patterns": np.zeros((3, 3), np.bool_)}),
        ("hcgs", {"blocks": ()}),
        ("hcgs", {"blocks": (4, 0)}),
        ("hcgs", {"blocks": ((4, 2), (2, 4))}),
        ("hcgs", {"blocks": ((4, 0),)}),
    ],
)
def test_impossible_options(name, options):
    with pytest.raises(UserError, match=f"index code {name}: "):
        make_index_code(name, **options)


def test_mask_bound_is_the_number_of_choices():
    mask = mask_of((4, 8), (0, 1), (2, 3), (3, 3))
    assert mask_bound(mask) == pytest.approx(math.log2(math.comb(32, 3)))
    assert mask_bound(np.ones((9, 9), np.bool_)) == pytest.approx(0)
    assert mask_bound(np.zeros((0, 9), np.bool_)) == 0


def test_hcgs_bound_is_the_number_of_choices():
    mask = hcgs_mask((32, 32), (8, 2), (0.5, 0.25), torch.Generator().manual_seed(4)).numpy()
    # 4 rows of blocks choose 2 of 4; each of the 8 kept blocks has 4 rows that choose 1 of 4.
    assert hcgs_bound(mask, (8, 2)) == pytest.approx(4 * math.log2(6) + 8 * 4 * 2)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5, 0.9])
def test_no_code_is_below_the_bound_on_average(density):
    rng = np.random.default_rng(5)
    masks = [rng.permutation(32 * 40).reshape(32, 40) < density * 32 * 40 for _ in range(20)]
    for name in set(INDEX_CODES) - {"full", "hcgs", "lines", "layered", "combination"}:
        assert np.mean([index_bits(mask, name) for mask in masks]) >= mask_bound(masks[0])
