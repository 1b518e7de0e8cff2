"""The C runtime gives the bits of the numpy reference, whole or streaming, at every instruction set."""

import ctypes
import platform
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from packed_models import NATIVE, SOURCES, Banks, random_model

from frenchpress.common import UserError
from frenchpress.packed import reference, runtime
from frenchpress.packed.gates import sigmoid
from frenchpress.packed.index import Level
from frenchpress.packed.runtime import LEVELS, Runtime, log_softmax
from frenchpress.packed.write import model_bytes


@pytest.fixture
def compiled():
    if runtime.library() is None:
        pytest.skip("the runtime was not built: no compiler")


def features(model, frames, seed=1):
    feats = np.random.default_rng(seed).normal(0, 4, (frames, model.input.dim)).astype(np.float32)
    if frames > 3:
        feats[3, 0], feats[1, 0] = np.nan, np.inf
    return feats


def slow_features(model, frames, seed=1):
    """Four of five features stay as they were in the frame before, and those that move go far."""
    feats, rng = features(model, frames, seed), np.random.default_rng(seed)
    for t in range(1, frames):
        feats[t] = np.where(rng.random(model.input.dim) < 0.8, feats[t - 1], 3 * feats[t])
    return feats


def plain_run(model, feats):
    """The definition once more, frame by frame with Python's integers."""
    x, window = model.input, []
    quantized = reference.quantize_features(x, feats)
    for t in range(len(feats)):
        around = [min(max(k, 0), len(feats) - 1) for k in range(t - x.left, t + x.right + 1, x.stride)]
        window.append([int(v) for k in around for v in quantized[k]])
    for layer in model.layers:
        window = plain_layer(layer, window)
    head, logits = model.head, []
    for h in window:
        h = requantized(h, head.requantizer, head.input_bits)
        accs = [sum(int(w) * v for w, v in zip(row, h)) for row in head.matrix.values]
        logits.append([shifted(a * int(m), head.shift) + int(b) for a, m, b in zip(accs, head.multiplier, head.bias)])
    return np.array(logits)


def shifted(value, shift):
    return (value + (1 << (shift - 1))) >> shift


def requantized(values, q, bits):
    top = 2 ** (bits - 1) - 1
    return [max(-top, min(top, shifted(v * q.multiplier, q.shift))) if q.multiplier else v for v in values]


def plain_layer(layer, window):
    count, top, out = layer.cells, 2 ** (layer.output_bits - 1) - 1, []
    h, c, seen = [0] * count, [0] * count, [0] * layer.input_matrix.columns
    for x in window:
        x = seen = held(requantized(x, layer.requantizer, layer.input_bits), seen, layer.hold_input)
        gates = []
        for row in range(4 * count):
            along = sum(int(w) * v for w, v in zip(layer.input_matrix.values[row], x))
            back = sum(int(w) * v for w, v in zip(layer.recurrent_matrix.values[row], h))
            total = along * int(layer.input_multiplier[row]) + back * int(layer.recurrent_multiplier[row])
            gates.append(int(sigmoid(np.int64(shifted(total, layer.shift) + int(layer.bias[row])))))
        sent, h, before, c = h, [], c, []
        for k in range(count):
            i, f, g, o = (gates[n * count + k] for n in range(4))
            c.append(max(1 - 2**31, min(2**31 - 1, shifted(f * before[k] + (i * (2 * g - 2**20) << 4), 20))))
            tanh = 2 * int(sigmoid(np.int64(2 * shifted(c[k], 8)))) - 2**20
            h.append(max(-top, min(top, shifted(shifted(o * tanh, 10) * layer.out_multiplier, 45))))
        h = held(h, sent, layer.hold_output)
        out.append(h)
    return out


def held(new, sent, hold):
    return [b if abs(b - a) > hold else a for a, b in zip(sent, new)]


@pytest.mark.parametrize("seed", range(3))
def test_reference_is_its_definition(seed):
    for hold, stride, left in ((0, 0), 1, 3), ((400, 0), 3, 3), ((3000, 90), 1, 3), ((400, 0), 1, -2):
        model = random_model(seed, act_bits=(16, 13, 8), context=(left, 3), hold=hold, stride=stride)
        feats = features(model, 9)
        assert np.array_equal(reference.run(model, feats), plain_run(model, feats))


CASES = {
    "odd sizes": {"cells": (7, 5), "outputs": 3},
    "one cell": {"cells": (1,), "outputs": 1, "dim": 1, "context": (0, 0)},
    "no context": {"context": (0, 0), "dim": 9},
    "past alone": {"context": (3, 0)},
    "future alone": {"context": (0, 4)},
    "frames apart": {"context": (6, 3), "stride": 3},
    "first and last frame": {"context": (0, 5), "stride": 5, "act_bits": (16, 13, 9), "hold": (2000, 80)},
    "one frame, later": {"context": (-5, 5), "hold": (900, 0)},
    "frames apart, all later": {"context": (-2, 6), "stride": 2},
    "three layers": {"cells": (16, 24, 8), "outputs": 40},
    "few bits": {"bits": 3, "act_bits": (6, 6, 6)},
    "one bit": {"bits": 1, "act_bits": (8, 8, 8)},
    "other grids": {"act_bits": (16, 13, 9)},
    "wide": {"cells": (130,), "dim": 40, "context": (5, 5), "outputs": 50},
    "inputs held back": {"hold": (4000, 0)},
    "outputs held back": {"hold": (0, 700), "cells": (13, 6)},
    "held back on other grids": {"act_bits": (16, 13, 9), "hold": (2000, 80), "cells": (7, 8)},
}


SPARSE = {"dense": (), "blocks": (Level(4, 1, 2), Level(2, 1, 2)), "weights": 0.1, "banks": Banks(1, 8, 1)}


@pytest.mark.parametrize("level", range(len(LEVELS)))
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sparse", SPARSE.values(), ids=SPARSE)
def test_runtime_gives_the_bits_of_the_reference(compiled, case, level, sparse):
    model = random_model(4, levels=sparse, **CASES[case])
    packed = Runtime(model_bytes(model), level=level)
    if packed.level != level:
        pytest.skip(f"this machine has no {LEVELS[level]}")
    for frames in (1, 2, 3, 17, 50):
        feats = features(model, frames)
        assert packed.logits(feats).shape == (frames, model.outputs)
        check_all_pieces(packed, model, feats)


STANDING = {
    "inputs": {"hold": (3000, 0), "cells": (7, 5), "outputs": 3},
    "outputs": {"hold": (0, 300), "cells": (13, 6)},
    "both, on other grids": {"act_bits": (16, 13, 9), "hold": (2000, 80), "cells": (40, 33), "dim": 30, "outputs": 70},
    "one column": {"hold": (9, 9), "cells": (1,), "outputs": 1, "dim": 1, "context": (0, 0)},
    "whatever they do": {"hold": (2**16 - 1, 2**16 - 1)},
}
"""Columns stand still, odd numbers of them too; changes of more than 16 bits; rows that do not fill a block."""


def check_all_pieces(packed, model, feats):
    expected = reference.run(model, feats)
    assert np.array_equal(packed.logits(feats), expected)
    for piece in (1, 5, 16):
        assert np.array_equal(streamed(packed.stream(), feats, piece), expected)
        assert np.array_equal(streamed(reference.ReferenceStream(model), feats, piece), expected)


@pytest.mark.parametrize("level", range(len(LEVELS)))
@pytest.mark.parametrize("case", STANDING)
def test_what_stands_still_changes_no_bit(compiled, case, level):
    model = random_model(4, **STANDING[case])
    packed = Runtime(model_bytes(model), level=level)
    if packed.level != level:
        pytest.skip(f"this machine has no {LEVELS[level]}")
    for frames in (1, 3, 50):
        check_all_pieces(packed, model, slow_features(model, frames))


BYTES = {
    "banks of 64": {"levels": Banks(1, 64, 4)},
    "single weights": {"levels": 0.05},
    "dense, odd columns": {"dim": 9, "context": (0, 0)},
    "weights that saturate pairs": {"bits": 8},
    "weights that do not": {"bits": 6},
    "inputs of 16 bits before": {"act_bits": (16, 8, 8)},
}


@pytest.mark.parametrize("level", range(len(LEVELS)))
@pytest.mark.parametrize("case", BYTES)
def test_inputs_of_8_bits_are_bytes_and_give_the_same_bits(compiled, case, level):
    """The largest inputs, and weights of -128 on both sides of a pair, where 16 bits would overflow."""
    options = {"act_bits": (8, 8, 8), "dim": 40, "context": (1, 1), "cells": (33, 20), "outputs": 21, **BYTES[case]}
    model = random_model(11, shared=False, **options)
    if options.get("bits", 8) == 8:
        first = model.layers[0].input_matrix
        first.values[:9] = np.where(first.mask[:9], -128, 0)
    packed = Runtime(model_bytes(model), level=level)
    if packed.level != level:
        pytest.skip(f"this machine has no {LEVELS[level]}")
    feats = 50 * np.sign(features(model, 19))
    assert np.array_equal(packed.logits(feats), reference.run(model, feats))


def built(directory, sources, *options):
    """The runtime of these sources as a library."""
    compiler, out = shutil.which("cc"), directory / "runtime.so"
    if compiler is None:
        pytest.skip("no compiler")
    command = [compiler, "-O2", "-ffp-contract=off", "-fPIC", "-shared", *options, *sources, "-lm", "-o", out]
    subprocess.run(command, check=True)
    return runtime._declared(ctypes.CDLL(str(out)))


@pytest.fixture(scope="module")
def computed_library(tmp_path_factory):
    """The runtime with the instructions of AVX-512 that windows and bytes need computed in C."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("no x86")
    sources = [path for path in SOURCES if Path(path).name not in ("windows.c", "bytes.c", "pairs.c")]
    here = Path(__file__).with_name("avx512_in_c.c")
    return built(tmp_path_factory.mktemp("computed"), [here, *sources], "-w", f"-I{NATIVE}")


@pytest.mark.parametrize("act_bits", [(16, 13, 13), (8, 8, 6)])
@pytest.mark.parametrize("levels", [(), 0.05, Banks(1, 32, 2), Banks(1, 64, 1)], ids=["dense", "weights", "32", "64"])
def test_avx512_computed_in_c_gives_the_same_bits(computed_library, monkeypatch, levels, act_bits):
    """Windows of 32 and of 64, bytes in order and picked; one frame, four, and a rest."""
    monkeypatch.setattr(runtime, "library", lambda: computed_library)
    sizes = {"cells": (33, 70), "dim": 90, "context": (1, 0), "outputs": 21}
    model = random_model(12, levels=levels, act_bits=act_bits, bits=6, **sizes)
    packed, feats = Runtime(model_bytes(model)), features(model, 23)
    if packed.level == 0:
        pytest.skip("no vectors")
    assert np.array_equal(packed.logits(feats), reference.run(model, feats))
    assert np.array_equal(streamed(packed.stream(), feats, 1), reference.run(model, feats))
    held = random_model(12, levels=levels, act_bits=act_bits, bits=6, hold=(2000, 80), **sizes)
    check_all_pieces(Runtime(model_bytes(held)), held, slow_features(held, 23))


@pytest.fixture(scope="module")
def plain_library(tmp_path_factory):
    """The runtime compiled without vectors, where it may take another form of a matrix."""
    return built(tmp_path_factory.mktemp("plain"), SOURCES, "-DFP_NO_VECTORS")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("part", [(), (Level(4, 1, 2), Level(2, 1, 2)), 0.02, 0.1, 0.4])
def test_without_vectors_it_gives_them_too(plain_library, monkeypatch, case, part):
    monkeypatch.setattr(runtime, "library", lambda: plain_library)
    model = random_model(4, levels=part, shared=False, **CASES[case])
    packed = Runtime(model_bytes(model))
    assert packed.level == 0
    for frames in (1, 20):
        feats = features(model, frames)
        expected = reference.run(model, feats)
        assert np.array_equal(packed.logits(feats), expected)
        assert np.array_equal(streamed(packed.stream(), feats, 3), expected)


@pytest.mark.parametrize("case", STANDING)
@pytest.mark.parametrize("part", [(), 0.02, 0.1, Banks(1, 8, 1)], ids=["dense", "1/50", "1/10", "banks"])
def test_without_vectors_what_stands_still_changes_no_bit(plain_library, monkeypatch, case, part):
    """Single weights lie column by column then."""
    monkeypatch.setattr(runtime, "library", lambda: plain_library)
    model = random_model(4, levels=part, shared=False, **STANDING[case])
    check_all_pieces(Runtime(model_bytes(model)), model, slow_features(model, 20))


def test_without_vectors_single_weights_take_little_memory(plain_library, monkeypatch):
    """A row's weights one by one, three bytes each, where a step of 16 would hold few more than one."""
    monkeypatch.setattr(runtime, "library", lambda: plain_library)
    cases = ((), (0, 0)), (1 / 16, (0, 0)), (1 / 16, (1, 1))
    models = [random_model(4, cells=(64,), dim=64, levels=part, shared=False, hold=hold) for part, hold in cases]
    dense, thin, by_columns = (Runtime(model_bytes(model)) for model in models)
    kept = sum(matrix.kept for matrix in models[1].matrices)
    for packed in thin, by_columns:
        assert packed.macs == kept and 3 * kept < packed.weight_bytes < 3 * kept + 4 * 600
    assert dense.macs > 15 * thin.macs


def streamed(stream, feats, piece):
    logits = [stream.push(feats[k : k + piece]) for k in range(0, len(feats), piece)]
    return np.concatenate([*logits, stream.finish()])


@pytest.mark.parametrize("shared", [True, False])
def test_masks_of_all_levels(compiled, levels, shared):
    model = random_model(5, levels=levels, shared=shared, cells=(12, 10))
    feats = features(model, 20)
    assert np.array_equal(Runtime(model_bytes(model)).logits(feats), reference.run(model, feats))


def test_streams_are_apart_and_start_afresh(compiled):
    model = random_model(6)
    packed, feats = Runtime(model_bytes(model)), features(model, 30)
    one, two = packed.stream(), packed.stream()
    one.push(feats[:9])
    assert np.array_equal(streamed(two, feats, 4), packed.logits(feats))
    one.reset()
    assert np.array_equal(streamed(one, feats, 7), packed.logits(feats))
    assert len(one.finish()) == 0 and len(one.push(feats[:0])) == 0


def test_extreme_numbers_saturate_alike(compiled):
    """Gates wide open for long: the cell state reaches its bounds, gates the end of their table."""
    model = random_model(7, cells=(6,))
    layer = model.layers[0]
    layer.bias[:] = np.repeat([40, 40, 40, 40], 6) * 65536
    feats = features(model, 400)
    for level in range(len(LEVELS)):
        assert np.array_equal(Runtime(model_bytes(model), level=level).logits(feats), reference.run(model, feats))


def test_damaged_files_and_wrong_features_are_refused(compiled):
    data = model_bytes(random_model())
    with pytest.raises(UserError, match="damaged"):
        Runtime(data[:-1] + b"x")
    with pytest.raises(ValueError, match="expected"):
        Runtime(data).stream().push(np.zeros((3, 4), np.float32))


def test_what_a_model_says_of_itself_is_the_same_with_and_without_the_library(compiled, monkeypatch):
    model = random_model(9)
    mine = Runtime(model_bytes(model))
    monkeypatch.setattr(runtime, "library", lambda: None)
    for packed in (mine, Runtime(model_bytes(model))):
        assert packed.model.outputs == 11 and packed.model.meta == model.meta
        assert (packed.model.input.dim, packed.model.input.left, packed.model.input.right) == (5, 2, 1)
        assert np.array_equal(packed.model.log_prior, model.head.log_prior)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    "levels",
    [(Level(4, 1, 2), Level(2, 1, 2)), 0.2, Banks(1, 4, 1), Banks(2, 3, 4)],
    ids=["blocks", "weights", "banks", "counted"],
)
def test_both_readers_accept_the_same_files(compiled, monkeypatch, levels, shared):
    """Each of them is the only one that looks at the weights, where it is used."""
    data = model_bytes(random_model(10, levels=levels, shared=shared, cells=(5,), dim=3))
    rng, native = np.random.default_rng(0), runtime.library()
    accepted = []
    for _ in range(600):
        damaged = bytearray(data)
        damaged[rng.integers(20, len(data) if rng.random() < 0.5 else 120)] = rng.choice([0, 1, 2, 8, 17, 57, 255])
        monkeypatch.setattr(runtime, "library", lambda: native)
        accepted.append(accepts(sealed(damaged)))
        monkeypatch.setattr(runtime, "library", lambda: None)
        assert accepts(sealed(damaged)) == accepted[-1]
    assert 50 < sum(accepted) < 550


def accepts(data):
    try:
        Runtime(data)
    except UserError:
        return False
    return True


def sealed(data):
    """`data` with the right checksum again."""
    return bytes(data[:16]) + struct.pack("<I", zlib.crc32(data[20:])) + bytes(data[20:])


def sections_moved(data, order):
    """The file with its sections in another order, or some of them twice, sealed again."""
    pieces, at = [], 20
    while at < len(data):
        size = 8 + -(-struct.unpack_from("<I", data, at + 4)[0] // 4) * 4
        pieces.append(data[at : at + size])
        at += size
    body = b"".join(pieces[k] for k in order)
    return data[:10] + struct.pack("<HII", len(order), 20 + len(body), zlib.crc32(body)) + body


def c_reads(data):
    """What the C reader alone says of a file: None when it takes it, else its words."""
    error, library = ctypes.create_string_buffer(160), runtime.library()
    handle = library.fp_model_read(data, len(data), error, len(error))
    library.fp_model_free(handle)
    return None if handle else error.value.decode()


def test_a_front_end_changes_no_bit_and_has_its_place(compiled):
    model = random_model(6, front=True)
    feats, data = features(model, 12), model_bytes(model)
    assert np.array_equal(Runtime(data).logits(feats), Runtime(model_bytes(random_model(6))).logits(feats))
    assert c_reads(data) is None and c_reads(sections_moved(data, range(6))) is None
    for order in ([0, 1, 2, 3, 4, 5, 5], [0, 1, 2, 3, 5, 4], [0, 1, 2, 3, 5], [5, 0, 1, 2, 3, 4]):
        assert c_reads(sections_moved(data, order))
        with pytest.raises(UserError):
            Runtime(sections_moved(data, order))


def test_without_the_library_numpy_serves(monkeypatch):
    model = random_model(8)
    feats = features(model, 12)
    monkeypatch.setattr(runtime, "library", lambda: None)
    packed = Runtime(model_bytes(model))
    assert packed.level is None
    assert np.array_equal(packed.logits(feats), reference.run(model, feats))


def test_log_softmax():
    logits = np.array([[0, 65536, -(2**31) + 1], [5, 5, 5]], np.int32)
    assert np.allclose(np.exp(log_softmax(logits)).sum(1), 1)
    assert np.allclose(log_softmax(logits)[1], -np.log(3))
