"""Bytes that were changed, cut or made up: a clear line or a matrix, never anything else."""

import numpy as np
import pytest
import torch
from mask_cases import hcgs_mask

from frenchpress.common import UserError
from frenchpress.compress.codes import INDEX_CODES, VALUE_CODES, decode, encode, make_index_code

LARGEST = 1 << 14
MUTATIONS = 200


# Codes that have more than one form.
FORMS = [*INDEX_CODES, "combination of banks", "hcgs of oblong blocks", "layered, thinned"]


def code_of(name, mask):
    if name == "hcgs of oblong blocks":
        return make_index_code("hcgs", blocks=((8, 8), (2, 2), (2, 1)))
    if name.startswith("combination"):
        return make_index_code("combination", block=(1, 6) if "banks" in name else (4, 8))
    if name == "hcgs":
        return make_index_code("hcgs", blocks=(8, 2))
    if name.startswith("layered"):
        layer = mask | (np.random.default_rng(3).random(mask.shape) < 0.2)
        return make_index_code("layered", outer=make_index_code("run_length"), layer=layer if "," in name else mask)
    return make_index_code(name)


def example(name, values):
    mask = hcgs_mask((37, 45), (8, 2), (0.5, 0.5), torch.Generator().manual_seed(0)).numpy()
    mask = np.ones_like(mask) if name in ("full", "lines") else mask
    if name.startswith("combination"):
        mask = np.zeros_like(mask)
        mask[:, 2::6] = mask[:, 4::6] = True
        mask = mask if "banks" in name else np.add.outer(np.arange(37) % 4, np.arange(45) % 8) < 2
    integers = np.random.default_rng(0).normal(0, 4, (74, 45)).round().astype(np.int64) * np.tile(mask, (2, 1))
    return encode(integers, mask, code_of(name, mask), values)


def either_refused_or_valid(data):
    try:
        integers, mask = decode(data, LARGEST)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert integers.dtype == np.int64 and mask.dtype == np.bool_ and integers.size <= LARGEST
    assert not integers[~np.tile(mask, (len(integers) // max(1, len(mask)), 1))].any()


@pytest.mark.parametrize("values", VALUE_CODES)
@pytest.mark.parametrize("name", FORMS)
def test_mutations(name, values):
    data, rng = example(name, values), np.random.default_rng(1)
    for _ in range(MUTATIONS):
        changed = np.frombuffer(data, np.uint8).copy()
        # The front holds what everything else is read by, so it is hit as often as all the rest.
        reach = 24 if rng.random() < 0.5 else len(changed)
        places = rng.integers(0, min(reach, len(changed)), rng.integers(1, 4))
        changed[places] = rng.integers(0, 256, len(places))
        either_refused_or_valid(changed.tobytes())


@pytest.mark.parametrize("values", VALUE_CODES)
@pytest.mark.parametrize("name", FORMS)
def test_cut_off_and_prolonged(name, values):
    data = example(name, values)
    for length in range(0, len(data), 7):
        with pytest.raises(UserError, match="cut off|damaged"):
            decode(data[:length])
    with pytest.raises(UserError, match="1 bytes too many"):
        decode(data + b"\0")


def test_noise():
    rng = np.random.default_rng(2)
    for _ in range(2000):
        either_refused_or_valid(rng.bytes(int(rng.integers(0, 60))))


def test_a_few_bytes_that_claim_a_giant_are_refused():
    giant = b"\xff\xff\xff\xff\x7f"
    for code in range(len(INDEX_CODES)):
        with pytest.raises(UserError, match="larger than"):
            decode(bytes([code]) + giant + giant + b"\x01" + bytes(50))
    with pytest.raises(UserError, match="larger than 8 weights"):
        decode(encode(np.ones((3, 3), np.int64), np.ones((3, 3), np.bool_), make_index_code("full")), 8)


def test_a_few_bytes_cannot_ask_for_a_long_walk():
    rows = 1 << 25
    code = make_index_code("hcgs", blocks=(1, 1))
    data = bytearray(encode(np.zeros((1, 1), np.int64), np.ones((1, 1), np.bool_), code))
    data[1:2] = b"\x80\x80\x80\x10"
    with pytest.raises(UserError, match="cut off"):
        decode(bytes(data))
    nothing = bytes([*data[:5], 1, 1, 1, 2, 1, 1, 0, 0])
    integers, mask = decode(nothing)
    assert mask.shape == (rows, 1) and not mask.any() and not integers.any()
