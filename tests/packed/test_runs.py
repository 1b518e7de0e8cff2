"""The index of any mask: small, the numbers of the code `run_length`, and damage in it is refused by both readers."""

import math
import struct

import numpy as np
import pytest
from packed_models import random_matrix, random_model
from test_format import same, sealed
from test_runtime import c_reads, features

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, BitWriter, pack_bits, to_bytes
from frenchpress.compress.codes import make_index_code
from frenchpress.packed import reference, runtime
from frenchpress.packed.format import parse_model
from frenchpress.packed.index import encode_index
from frenchpress.packed.model import PackedMatrix
from frenchpress.packed.runs import WIDEST, Runs, decode_runs, encode_runs
from frenchpress.packed.runtime import LEVELS, Runtime
from frenchpress.packed.write import model_bytes

SHAPE = 37, 53


def drawn(density, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).random(shape) < density


def one_place(place, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask.flat[place] = True
    return mask


MASKS = {
    **{f"{density:.3f}": drawn(density) for density in (1 / 60, 1 / 16, 1 / 5, 1 / 3, 0.9)},
    "nothing": np.zeros(SHAPE, bool),
    "everything": np.ones(SHAPE, bool),
    "first": one_place(0),
    "last": one_place(-1),
    "last of many": one_place(-1, (700, 300)),
    "columns": np.arange(SHAPE[1]) % 7 == np.zeros((SHAPE[0], 1)),
    "rows": np.arange(SHAPE[0])[:, None] % 7 == np.zeros(SHAPE[1]),
}


def read(bits, shape, runs):
    reader = BitReader(to_bytes(bits), highest_first=False)
    mask = decode_runs(reader, shape, runs)
    assert reader.left < 8 and reader.bytes_used == -(-len(bits) // 8)
    return mask


@pytest.mark.parametrize("name", MASKS)
def test_masks_come_back(name):
    mask = MASKS[name]
    bits, runs = encode_index(mask, ()), Runs.of(mask)
    assert np.array_equal(read(bits, mask.shape, runs), mask)
    assert runs.kept == mask.sum() and 1 <= runs.width <= WIDEST


@pytest.mark.parametrize("width", range(1, WIDEST + 1))
def test_a_reader_takes_any_width(width):
    """Number by number, as C reads them."""
    mask, top, numbers = MASKS["0.062"], (1 << width) - 1, []
    for run in np.diff(np.flatnonzero(mask), prepend=-1) - 1:
        numbers += [top] * (run // top) + [run % top]
    assert np.array_equal(read(pack_bits(numbers, width), SHAPE, Runs(int(mask.sum()), width)), mask)


@pytest.mark.parametrize("name", MASKS)
def test_as_many_bits_as_size_yaml_charges(name):
    """`run_length` has its width and the count before its numbers; it may be wider than this one."""
    mask = MASKS[name]
    code, out = make_index_code("run_length").fit(mask), BitWriter()
    code.write(mask, out)
    before = 5 + math.ceil(math.log2(mask.size + 1))
    if code.width <= WIDEST:
        assert len(encode_runs(mask)) == out.bits - before
    else:
        assert out.bits - before < len(encode_runs(mask)) <= out.bits - before + WIDEST * -(-mask.size >> WIDEST)


@pytest.mark.parametrize("density", [1 / 60, 1 / 16, 1 / 5, 1 / 3])
def test_near_the_entropy_of_random_masks(density):
    mask = drawn(density, (512, 512))
    share = mask.mean()
    entropy = -mask.size * (share * math.log2(share) + (1 - share) * math.log2(1 - share))
    assert len(encode_runs(mask)) < 1.1 * entropy


def test_first_numbers_by_hand():
    """Of 2 x 4 the places 1, 6 and 7: runs 1, 4, 0; in two bits 1, 3 and one more, 0."""
    mask = np.array([[0, 1, 0, 0], [0, 0, 1, 1]], bool)
    assert pack_bits([1, 3, 1, 0], 2).tolist() == [1, 0, 1, 1, 1, 0, 0, 0]
    assert np.array_equal(read(pack_bits([1, 3, 1, 0], 2), (2, 4), Runs(3, 2)), mask)
    assert Runs.of(mask) == Runs(3, 1) and encode_runs(mask).tolist() == [1, 0, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("numbers", [[8, 0], [7, 1], [15, 0], [3], [15, 15, 15, 15]])
def test_runs_out_of_the_mask_or_cut_short_are_refused(numbers):
    with pytest.raises(UserError):
        decode_runs(BitReader(to_bytes(pack_bits(numbers, 4)), highest_first=False), (2, 4), Runs(3, 4))


def test_a_file_of_one_long_run_is_read_at_once():
    """Each number moves on by one place alone."""
    shape = (1 << 11, 1 << 11)
    ones = np.ones((1 << 22) - 1, np.uint8)
    assert decode_runs(BitReader(to_bytes(ones, np.zeros(1, np.uint8)), highest_first=False), shape, Runs(1, 1))[-1, -1]


# ---- in a file ----


def test_the_version_says_that_there_are_runs():
    assert model_bytes(random_model(1))[8] == 1 and model_bytes(random_model(1, levels=0.3))[8] == 2


@pytest.mark.parametrize("mask", ["nothing", "everything", "last"])
def test_masks_at_the_ends(mask):
    """A gate may keep nothing at all, or everything."""
    rng, cells, shape = np.random.default_rng(1), 7, (7, 7)
    one = {"nothing": np.zeros(shape, bool), "everything": np.ones(shape, bool), "last": one_place(-1, shape)}[mask]
    model = random_model(2, cells=(cells,))
    masks = (one, drawn(0.2, shape), one, drawn(0.5, shape))
    values = random_matrix(rng, 4, cells, cells, 8).values * np.concatenate(masks)
    layer = model.layers[0]
    object.__setattr__(layer, "recurrent_matrix", PackedMatrix(4, 8, values, (), masks))
    assert same(parse_model(model_bytes(model)), model)
    if runtime.library() is not None:
        feats = features(model, 9)
        assert c_reads(model_bytes(model)) is None
        for level in range(len(LEVELS)):
            assert np.array_equal(Runtime(model_bytes(model), level=level).logits(feats), reference.run(model, feats))


HEAD_SHAPE = struct.pack("<HHBBBB", 11, 6, 1, 8, 255, 1)


def changed(change, at):
    """A file whose head has `change` at byte `at` of its matrix."""
    data = model_bytes(random_model(levels=0.2))
    place = data.rindex(HEAD_SHAPE) + at
    return sealed(data[:place] + change + data[place + len(change) :])


@pytest.mark.parametrize(
    "change,at,message",
    [
        (b"\xfd", 6, "levels 253 is outside 0 to 16"),
        (b"\0", 7, "with 255 levels and 0 masks"),
        (b"\2", 7, "with 255 levels and 2 masks"),
        (struct.pack("<I", 67), 8, "kept weights 67 is outside 0 to 66"),
        (struct.pack("<I", 2**32 - 1), 8, "kept weights 4294967295 is outside"),
        (b"\0", 12, "bits of a run 0 is outside 1 to 16"),
        (b"\x11", 12, "bits of a run 17 is outside 1 to 16"),
        (struct.pack("<I", 66), 8, "index: a run leads to place|cut off"),
        (b"\xff" * 4, 16, "index: a run leads to place"),
    ],
)
def test_damage_is_refused_by_both_readers(change, at, message):
    with pytest.raises(UserError, match=message):
        parse_model(changed(change, at))
    if runtime.library() is not None:
        assert c_reads(changed(change, at))


@pytest.mark.parametrize("at", [13, 14, 15])
def test_padding_is_not_looked_at(at):
    assert same(parse_model(changed(b"\x55", at)), parse_model(changed(b"\0", at)))
    assert runtime.library() is None or c_reads(changed(b"\x55", at)) is None
