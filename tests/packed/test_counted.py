"""The index of blocks that keep equally many: as many bits as its code, edges, and damage refused by both readers."""

import struct

import numpy as np
import pytest
from packed_models import Banks, counted_mask, random_model
from test_format import same, sealed
from test_runtime import c_reads, features

from frenchpress.common import UserError
from frenchpress.common.bits import BitWriter, pack_bits
from frenchpress.common.combinations import Counted
from frenchpress.compress.codes import make_index_code
from frenchpress.packed import reference, runtime
from frenchpress.packed.format import parse_model
from frenchpress.packed.runtime import LEVELS, Runtime
from frenchpress.packed.write import model_bytes

BANKS = Banks(1, 4, 2), Banks(1, 7, 5), Banks(3, 5, 4), Banks(1, 64, 1), Banks(2, 2, 4)


def test_the_version_says_that_there_are_counted_blocks():
    assert model_bytes(random_model(1, levels=Banks(1, 4, 1)))[8] == 3
    assert model_bytes(random_model(1, levels=0.3))[8] == 2 and model_bytes(random_model(1))[8] == 1


def test_number_by_hand():
    """Of 8 the places 3 and 6: 3 + 15, in 5 bits, the lowest first."""
    mask = np.zeros((1, 8), bool)
    mask[0, [3, 6]] = True
    assert Counted.of(mask, (1, 8)).write(mask, highest_first=False).tolist() == pack_bits([18], 5).tolist()


@pytest.mark.parametrize("shape", [(1928, 440), (512, 440)])
def test_as_many_bits_as_size_yaml_charges(shape):
    """The code has sizes and counts before its numbers. 440 inputs are 13 banks of 32 and one of 24."""
    mask, out = counted_mask(np.random.default_rng(0), shape, Banks(1, 32, 2)), BitWriter()
    make_index_code("combination", block=(1, 32)).write(mask, out)
    numbers = Counted.of(mask, (1, 32)).write(mask, highest_first=False)
    assert out.bits == 8 + 8 + 4 * 6 + len(numbers) and len(numbers) == 9 * 14 * shape[0] <= 4.6 * mask.sum()


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("banks", BANKS)
def test_comes_back_and_runs_alike(banks, shared):
    model = random_model(2, cells=(11, 9), outputs=13, levels=banks, shared=shared, bits=6)
    data, feats = model_bytes(model), features(model, 20)
    assert same(parse_model(data), model)
    if runtime.library() is not None:
        assert c_reads(data) is None
        for level in range(len(LEVELS)):
            assert np.array_equal(Runtime(data, level=level).logits(feats), reference.run(model, feats))


HEAD_SHAPE = struct.pack("<HHBBBB", 11, 6, 1, 8, 254, 1)


def changed(change, at):
    """A file whose head, 11 x 6 in banks of 4 that keep 2, has `change` at byte `at` of its matrix."""
    data = model_bytes(random_model(levels=Banks(1, 4, 2)))
    place = data.rindex(HEAD_SHAPE) + at
    return sealed(data[:place] + change + data[place + len(change) :])


@pytest.mark.parametrize(
    "change,at,message",
    [
        (b"\xfd", 6, "levels 253 is outside 0 to 16"),
        (b"\0", 7, "with 254 levels and 0 masks"),
        (b"\0\0", 8, "blocks of 0 x 4 in a matrix of 11 x 6"),
        (b"\x0c\0", 8, "blocks of 12 x 4 in a matrix"),
        (b"\7\0", 10, "blocks of 1 x 7 in a matrix"),
        (b"\5\0", 12, "a block of 4 weights that keeps 5 has no number"),
        (b"\xff\xff", 14, "a block of 2 weights that keeps 65535 has no number"),
        (b"\1\0", 16, "a block of 0 weights that keeps 1 has no number"),
        (b"\1\0", 18, "a block of 0 weights that keeps 1 has no number"),
        (b"\xff" * 3, 24, "index: number 7 of 6 ways to keep 2 of 4"),
    ],
)
def test_damage_is_refused_by_both_readers(change, at, message):
    with pytest.raises(UserError, match=message):
        parse_model(changed(change, at))
    if runtime.library() is not None:
        assert c_reads(changed(change, at))


def test_numbers_of_more_than_62_bits_are_refused_by_both_readers():
    """100 of 200 in one block: the sizes say so, and nothing is computed from them."""
    model = random_model(levels=Banks(1, 200, 2), context=(19, 20), cells=(3,))
    data = model_bytes(model)
    place = data.index(struct.pack("<HHHH", 1, 200, 2, 0)) + 4
    for kept in (13, 100, 187):
        other = sealed(data[:place] + struct.pack("<H", kept) + data[place + 2 :])
        with pytest.raises(UserError, match="more than 62 bits"):
            parse_model(other)
        assert runtime.library() is None or "too long" in c_reads(other) or "that keep" in c_reads(other)


@pytest.mark.parametrize("at", range(20, 24))
def test_padding_is_not_looked_at(at):
    assert same(parse_model(changed(b"\x55", at)), parse_model(changed(b"\0", at)))
    assert runtime.library() is None or c_reads(changed(b"\x55", at)) is None
