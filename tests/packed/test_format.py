"""The packed file: what is written comes back, what is damaged is refused."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hcgs_index import hcgs_index_bits
from packed_models import random_mask, random_model

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, pack_bits, to_bytes
from frenchpress.packed.format import MAGIC, parse_model, read_model
from frenchpress.packed.index import Level, decode_index, encode_index
from frenchpress.packed.write import model_bytes, write_model


def same(a, b) -> bool:
    """Whether two packed models hold the same numbers."""
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "__dataclass_fields__"):
        return all(same(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__)
    return a == b


def sealed(data: bytes) -> bytes:
    """`data` with the right length and checksum again."""
    return data[:12] + struct.pack("<II", len(data), zlib.crc32(data[20:])) + data[20:]


@pytest.mark.parametrize("bits", range(1, 9))
def test_comes_back_whole(levels, bits):
    for shared in (True, False):
        model = random_model(bits, bits=bits, levels=levels, shared=shared)
        assert same(parse_model(model_bytes(model)), model)


def test_what_is_held_back_comes_back():
    for front in (True, False):
        model = random_model(1, front=front, hold=(3, 2**16 - 1))
        without = random_model(1, front=front)
        data, bare = model_bytes(model), model_bytes(without)
        assert same(parse_model(data), model) and (data[8], bare[8]) == (4, 1)
        assert len(data) - len(bare) == 8 + 4 * 2 and model.content_bits - without.content_bits == 64


def test_frames_that_are_not_seen_come_back():
    for hold in (0, 0), (3, 4):
        model = random_model(1, context=(6, 3), stride=3, hold=hold)
        data = model_bytes(model)
        assert same(parse_model(data), model) and data[8] == 5 and model.input.offsets == range(-6, 4, 3)
    late = random_model(1, context=(-2, 6), stride=2)
    data_late = model_bytes(late)
    assert same(parse_model(data_late), late) and data_late[8] == 6 and late.input.offsets == range(2, 7, 2)
    left = data_late.index(b"FEAT") + 8 + 2
    assert data_late[left] == 254
    with pytest.raises(UserError, match=r"x: section FEAT: a splice of the frames from 8 to 6$"):
        parse_model(sealed(data_late[:left] + b"\xf8" + data_late[left + 1 :]), "x")
    at = data.index(b"FEAT") + 8 + 5
    assert data[at] == 2
    wrong = sealed(data[:at] + b"\3" + data[at + 1 :])
    with pytest.raises(UserError, match=r"x: section FEAT: 3 frames between two of a splice of 6 \+ 1 \+ 3$"):
        parse_model(wrong, "x")


def test_front_end_comes_back_and_is_counted():
    model = random_model(1, front=True)
    assert same(parse_model(model_bytes(model)), model)
    bare = random_model(1)
    extra = len(model_bytes(model)) - len(model_bytes(bare))
    assert model.content_bits - bare.content_bits == 32 * (3 + 5 * 9 + 4 + 2 * 4 * 5 + 9) == 8 * (extra - 8 - 12)


def test_file_and_its_bytes(tmp_path):
    model = random_model()
    size = write_model(tmp_path / "m.press", model)
    data = (tmp_path / "m.press").read_bytes()
    assert size == len(data) and data[:8] == MAGIC and data == model_bytes(model)
    assert same(read_model(tmp_path / "m.press"), model)
    with pytest.raises(UserError, match="a directory; give the packed file in it, .*/model.press"):
        read_model(tmp_path)


def test_size_is_what_its_contents_ask_for():
    levels = (Level(16, 1, 4), Level(2, 1, 4))
    model = random_model(cells=(128, 128), outputs=200, dim=40, levels=levels)
    content = -(-model.content_bits // 8)
    assert content <= len(model_bytes(model)) <= content + 300


def test_first_numbers_by_hand():
    """A matrix of 2 x 4 that keeps one of two 2 x 2 blocks: number 1, then 3, -1, 0, 2 in 3 bits."""
    mask = np.array([[0, 0, 1, 1], [0, 0, 1, 1]], bool)
    index = encode_index(mask, [Level(2, 1, 2)])
    assert index.tolist() == [1]
    data = to_bytes(index, pack_bits(np.array([3, 7, 0, 2]), 3))
    assert data == bytes([0b0_111_011_1 | 0 << 7, 0b0_010_00])
    reader = BitReader(data, highest_first=False, what="")
    assert np.array_equal(decode_index(reader, (2, 4), [Level(2, 1, 2)]), mask)
    assert reader.take(4, 3).tolist() == [3, 7, 0, 2]
    reader.finish(2)


def test_index_is_as_long_as_theory_says():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    levels = (Level(8, 1, 4), Level(2, 1, 4))
    mask = random_mask(rng, 40, 44, levels)
    assert len(encode_index(mask, levels)) == hcgs_index_bits(torch.from_numpy(mask), [8, 2])


def test_a_mask_of_other_levels_is_not_encoded():
    mask = np.zeros((4, 4), bool)
    mask[0, 0] = mask[2:, :2] = True
    with pytest.raises(UserError, match="mask"):
        encode_index(mask, [Level(2, 1, 2)])


def test_every_byte_counts():
    data = model_bytes(random_model())
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        with pytest.raises(UserError):
            parse_model(bytes(damaged))
    for length in range(0, len(data), 11):
        with pytest.raises(UserError):
            parse_model(data[:length])
    with pytest.raises(UserError):
        parse_model(data + b"\0\0\0\0")


def test_says_what_is_wrong(tmp_path):
    data = model_bytes(random_model())
    with pytest.raises(UserError, match=r"m\.press: no such file; `frenchpress pack"):
        read_model(tmp_path / "m.press")
    (tmp_path / "m.press").write_bytes(b"RIFF" + data)
    with pytest.raises(UserError, match=r"m\.press: not a packed model"):
        read_model(tmp_path / "m.press")
    with pytest.raises(UserError, match="version 7 of the format, this program reads 1 to 6"):
        parse_model(data[:8] + b"\7\0" + data[10:])
    with pytest.raises(UserError, match="damaged: its length or checksum"):
        parse_model(data[:-4])
    with pytest.raises(UserError, match="section FEAT: activation bits 1 is outside 2 to 16"):
        place = data.index(b"FEAT") + 12
        parse_model(sealed(data[:place] + b"\1" + data[place + 1 :]))


def test_a_row_that_could_overflow_is_refused():
    model = random_model(cells=(700,), dim=40, context=(5, 5), bits=8)
    model.layers[0].recurrent_matrix.values[3] = -128
    with pytest.raises(UserError, match="past 32 bits; use fewer"):
        parse_model(model_bytes(model))


def with_front(change: bytes, at: int) -> bytes:
    """A file whose FRNT section has `change` at byte `at`."""
    data = model_bytes(random_model(front=True))
    place = data.rindex(b"FRNT") + 8 + at
    return sealed(data[:place] + change + data[place + len(change) :])


FRONT_NUMBERS = 12 + 4 * (3 + 5 * 9)


@pytest.mark.parametrize(
    "change,at,message",
    [
        (b"\0\0", 2, "section FRNT: cepstra 0 is outside"),
        (b"\xff\xff", 2, "section FRNT: .* bytes are needed"),
        (b"\xff", 4, "section FRNT: .* bytes are needed"),
        (b"\xff\xff\xff\xff", 8, "section FRNT: labels 4294967295 is outside"),
        (b"\x08", 8, "section FRNT: 4 bytes too many"),
        (struct.pack("<f", np.nan), 12, "section FRNT: a number is not finite"),
        (struct.pack("<f", -1), FRONT_NUMBERS, "a weight below 0"),
        (struct.pack("<f", 0), FRONT_NUMBERS + 4 * (4 + 20), "a variance not above it"),
        (b"\x0b\0", FRONT_NUMBERS + 4 * (4 + 40), "a label reads output 11 of 11"),
        (b"\x04", FRONT_NUMBERS + 4 * (4 + 40) + 2, "a label of a phone that is not there"),
        (b"\x04", FRONT_NUMBERS + 4 * (4 + 40) + 3, "with unknown flags"),
    ],
)
def test_bad_front_ends_are_refused(change, at, message):
    with pytest.raises(UserError, match=message):
        parse_model(with_front(change, at))


def test_front_end_of_another_network_is_refused():
    model = random_model(dim=5)
    other = random_model(dim=4, front=True).front
    with pytest.raises(UserError, match="front end of 4 features, but the network takes 5"):
        parse_model(model_bytes(replace(model, front=other)))
