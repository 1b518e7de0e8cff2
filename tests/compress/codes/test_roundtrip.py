"""Every code on every kind of mask: what is read is what was written."""

import numpy as np
import pytest
import torch
from mask_cases import hcgs_mask

from frenchpress.common import UserError
from frenchpress.compress.codes import (
    INDEX_CODES,
    VALUE_CODES,
    decode,
    encode,
    encode_parts,
    make_index_code,
    plain_value_code,
)
from frenchpress.compress.quantizers import QUANTIZERS, make_quantizer
from frenchpress.compress.sparsity import HierarchyMask

ANY_MASK = [name for name in INDEX_CODES if name not in ("full", "hcgs", "lines", "layered", "combination")]
SHAPES = [(1, 1), (7, 13), (32, 48), (33, 31), (1, 100), (100, 1), (64, 64), (0, 5), (5, 0), (0, 0)]


def draw(mask, bits, gates=1, seed=0):
    """Integers of so many bits where `gates` stacked copies of the mask keep; kept zeros among them."""
    rng = np.random.default_rng(seed)
    full = np.tile(mask, (gates, 1))
    if bits == 1:
        values = rng.choice([-1, 1], full.shape)
    else:
        values = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), full.shape)
        values[rng.random(full.shape) < 0.2] = 0
    return values.astype(np.int64) * full


def check(mask, code, values="fixed", bits=4, gates=1, given=None):
    integers = draw(mask, bits, gates)
    data = encode(integers, mask, code, values, given)
    back, back_mask = decode(data)
    assert back.dtype == np.int64 and np.array_equal(back, integers) and back.shape == integers.shape
    assert back_mask.dtype == np.bool_ and np.array_equal(back_mask, mask) and back_mask.shape == mask.shape
    return data


@pytest.mark.parametrize("values", VALUE_CODES)
@pytest.mark.parametrize("name", ANY_MASK)
@pytest.mark.parametrize("shape", SHAPES)
def test_random_masks_of_all_densities(shape, name, values):
    rng = np.random.default_rng(1)
    for density in (0, 0.02, 0.3, 0.9, 1):
        mask = rng.random(shape) < density
        check(mask, make_index_code(name), values)


@pytest.mark.parametrize("name", ANY_MASK)
def test_empty_rows_columns_and_lone_corners(name):
    mask = np.zeros((40, 37), np.bool_)
    check(mask, make_index_code(name))
    mask[3, :] = mask[:, 30] = True
    check(mask, make_index_code(name))
    for corner in ((0, 0), (0, 36), (39, 0), (39, 36)):
        lone = np.zeros_like(mask)
        lone[corner] = True
        check(lone, make_index_code(name))


@pytest.mark.parametrize("values", VALUE_CODES)
@pytest.mark.parametrize("bits", range(1, 17))
def test_every_number_of_bits(bits, values):
    mask = np.random.default_rng(2).random((30, 40)) < 0.5
    check(mask, make_index_code("bitmap"), values, bits)
    check(mask, make_index_code("bitmap"), values, bits, given=bits)
    check(np.ones((20, 20), np.bool_), make_index_code("full"), values, bits)


@pytest.mark.parametrize("name, kind", QUANTIZERS.items())
def test_integers_of_every_quantizer_in_the_bits_that_it_is_charged(name, kind):
    mask = np.random.default_rng(6).random((24, 40)) < 0.5
    for bits in set(range(1, 17)).intersection(kind.takes if name != "none" else ()):
        quantizer = make_quantizer(name, bits)
        x = torch.randn(48, 40, generator=torch.Generator().manual_seed(bits))
        full = np.tile(mask, (2, 1))
        integers = quantizer.encode(x * torch.from_numpy(full)).written.numpy() * full
        for values in (plain_value_code(integers[full], quantizer.stored_bits), "codebook", "huffman"):
            data = encode(integers, mask, make_index_code("bitmap"), values, quantizer.stored_bits)
            back, back_mask = decode(data)
            assert np.array_equal(back, integers) and np.array_equal(back_mask, mask)


def test_extreme_integers():
    mask = np.ones((1, 2), np.bool_)
    integers = np.array([[-(2**31), 2**31 - 1]])
    for values in VALUE_CODES:
        assert np.array_equal(decode(encode(integers, mask, make_index_code("full"), values))[0], integers)
    with pytest.raises(UserError, match="need 33 bits"):
        encode(integers + 1, mask, make_index_code("full"))


@pytest.mark.parametrize("values", VALUE_CODES)
def test_kept_zeros_are_not_removed_weights(values):
    mask = np.random.default_rng(3).random((9, 9)) < 0.4
    zeros = np.zeros((9, 9), np.int64)
    back, back_mask = decode(encode(zeros, mask, make_index_code("coo"), values))
    assert np.array_equal(back, zeros) and np.array_equal(back_mask, mask)


@pytest.mark.parametrize("values", VALUE_CODES)
@pytest.mark.parametrize("name", ANY_MASK)
def test_a_mask_that_four_gates_share_is_stored_once(name, values):
    mask = np.random.default_rng(4).random((24, 50)) < 0.1
    check(mask, make_index_code(name), values, gates=4)
    one = encode_parts(draw(mask, 4), mask, make_index_code(name))
    four = encode_parts(draw(mask, 4, 4), mask, make_index_code(name), bits=4)
    assert four.index == one.index and four.index_bits == one.index_bits


CASES = [
    ((512, 440), (32, 2), ("4/16", "4/16")),
    ((100, 70), (16, 3), ("1/2", "1/3")),
    ((48, 512), (64, 4), (0.5, 0.75)),
    ((64, 64), (8,), ("1/4",)),
    ((64, 64), (16, 8, 2), (0.5, 0.5, 0.5)),
    ((71, 45), (17, 7, 2), (0.5, 0.5, 0.5)),
    ((30, 30), (7, 7), (0.5, 1)),
    ((30, 30), (7, 2), (1, 1)),
]


@pytest.mark.parametrize("values", VALUE_CODES)
@pytest.mark.parametrize("shape, blocks, keep", CASES)
def test_hcgs_masks_in_every_code(shape, blocks, keep, values):
    mask = hcgs_mask(shape, blocks, keep, torch.Generator().manual_seed(5)).numpy()
    for name in ANY_MASK:
        check(mask, make_index_code(name), values, gates=2)
    check(mask, make_index_code("hcgs", blocks=blocks), values, gates=2)


@pytest.mark.parametrize("shape", [(64, 64), (71, 45), (37, 50)])
@pytest.mark.parametrize(
    "blocks", [[[16, 8]], [[32, 16], [4, 2]], [[8, 16], [3, 5]], [[16, 16], [16, 2], [1, 2]], [[5, 7], [5, 1]]]
)
def test_hierarchies_of_blocks_that_are_not_square(shape, blocks):
    method = HierarchyMask(blocks=blocks, keep=["1/2"] * len(blocks))
    parts = [method.make(shape, torch.Generator().manual_seed(seed)).numpy() for seed in range(2)]
    code = make_index_code("hcgs", blocks=method.blocks, stacked=2)
    check(np.concatenate(parts), code)
    check(parts[0], make_index_code("hcgs", blocks=method.blocks), "huffman", gates=2)


def test_what_does_not_fit_is_one_clear_line():
    mask = np.ones((4, 4), np.bool_)
    mask[0, 0] = False
    integers = np.where(mask, 3, 0)
    bitmap = make_index_code("bitmap")
    refusals = [
        (lambda: encode(np.full((4, 4), 3), mask, bitmap), "1 integers are not zero where the mask removes"),
        (lambda: encode(integers.astype(float), mask, bitmap), "matrix of integers, not float64"),
        (lambda: encode(integers, mask[:3], bitmap), r"mask bool \[3, 4\] does not fit a matrix \[4, 4\]"),
        (lambda: encode(integers, mask.astype(int), bitmap), "mask int64"),
        (lambda: encode(integers, mask, bitmap, bits=2), "2 bits do not fit these integers; use 3 to 32"),
        (lambda: encode(integers, mask, bitmap, bits=33), "33 bits do not fit"),
        (lambda: encode(integers, mask, bitmap, "zip"), r"unknown 'zip' \(known: fixed, huffman"),
        (lambda: encode(integers, mask, make_index_code("full")), "1 of 16 weights are removed"),
        (lambda: make_index_code("cooo"), "unknown 'cooo', did you mean 'coo'"),
        (lambda: make_index_code("coo", side=3), "coo: does not take the options side"),
    ]
    for call, line in refusals:
        with pytest.raises(UserError, match=line) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", SHAPES)
def test_whole_rows_and_columns(shape):
    rng = np.random.default_rng(3)
    for density in (0, 0.3, 1):
        mask = (rng.random(shape[0]) < density)[:, None] & (rng.random(shape[1]) < 0.5)
        parts = encode_parts(draw(mask, 4), mask, make_index_code("lines"))
        assert parts.index_bits == sum(shape)
        check(mask, make_index_code("lines"), gates=2 if mask.size else 1)
    with pytest.raises(UserError, match="not a mask of whole rows and columns"):
        encode(np.eye(3, dtype=np.int64), np.eye(3, dtype=np.bool_), make_index_code("lines"))


@pytest.mark.parametrize("values", VALUE_CODES)
@pytest.mark.parametrize("shape, block", [((8, 64), (1, 32)), ((33, 53), (4, 8)), ((7, 5), (1, 9)), ((0, 4), (1, 2))])
def test_blocks_that_keep_equally_many(shape, block, values):
    mask = np.zeros(shape, np.bool_)
    mask[:, 1 :: max(1, block[1])] = True
    code = make_index_code("combination", block=block)
    check(mask, code, values, gates=2 if mask.size else 1)
    if mask.size:
        mask[0, 0] ^= True
        with pytest.raises(UserError, match="combination: mask: blocks of .* keep from"):
            encode(np.zeros(shape, np.int64), mask, code)
