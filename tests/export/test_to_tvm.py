"""Compiled models against the packed reference and the trained model: every mask, every format, and what is refused."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from packed_models import Banks, random_model

tvm = pytest.importorskip("tvm", reason="the compiler is an extra: pip install -e '.[tvm]'")

from test_every_mask import PRESSES, masked  # noqa: E402
from test_pack import COUNTS, W8A16, make  # noqa: E402

from frenchpress.common import UserError  # noqa: E402
from frenchpress.export import packages, to_tvm  # noqa: E402
from frenchpress.export.compiler import operators  # noqa: E402
from frenchpress.export.compiler.formats import KINDS, Form, Matrix, choose, forms  # noqa: E402
from frenchpress.export.compiler.module import Library, compile_network, cuda_source, host_target, loops_for  # noqa: E402
from frenchpress.export.compiler.network import of_packed, of_trained  # noqa: E402
from frenchpress.export.compiler.operators import product  # noqa: E402
from frenchpress.export.pack import PACKED, pack_model  # noqa: E402
from frenchpress.packed import reference  # noqa: E402
from frenchpress.packed.index import Level  # noqa: E402
from frenchpress.packed.write import write_model  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

EXAMPLES = Path(__file__).parents[2] / "examples" / "tvm"
HIERARCHY = Level(4, 1, 2), Level(2, 1, 2)
MODELS = {
    "dense": {"levels": ()},
    "blocks": {"levels": HIERARCHY, "act_bits": (16, 14, 12), "hold": (900, 300), "context": (-2, 3)},
    "csr": {"levels": 0.2, "shared": False, "bits": 1},
    "banks": {"levels": Banks(1, 8, 2), "bits": 6, "cells": (16, 70), "context": (6, 3), "stride": 3},
}
"""Kind of format -> a model whose masks it is for: other grids and a delta network, gates with masks of their own,
frames apart, and later alone."""
QUICK = tvm.target.Target({"kind": "llvm", "opt-level": 1})


def library(network, kinds=KINDS):
    return Library(compile_network(network, kinds, QUICK).executable)


def features(model, frames=9):
    x = model.input
    feats = np.random.default_rng(5).normal(0, 2, (frames, x.dim)).astype(np.float32)
    feats[3, :3] = np.nan, np.inf, -np.inf
    return feats


@pytest.mark.parametrize("kind", MODELS)
def test_integers_are_those_of_the_reference(kind):
    model = random_model(**{"cells": (16, 12), **MODELS[kind]})
    compiled = library(of_packed(model), [kind])
    feats = features(model)
    expected = reference.run(model, feats)
    assert np.array_equal(compiled.logits(feats)["head_cd"], expected)
    # Frame by frame, the states in the caller's hands.
    left, right = model.input.left, model.input.right
    given, states, rows = feats[np.arange(-left, len(feats) + right).clip(0, len(feats) - 1)], compiled.start(), []
    for t in range(len(feats)):
        out, states = compiled.step(given[t : t + 1 + left + right], states)
        rows.append(out["head_cd"][0])
    assert np.array_equal(rows, expected)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_floats_agree_with_the_trained_model(batch_norm):
    model = make(PRESSES["hcgs option"] if batch_norm else {}, batch_norm=batch_norm)
    compiled = library(of_trained(model))
    assert to_tvm.difference(model, compiled) < 1e-5
    feats = torch.randn(7, 6)
    found = torch.from_numpy(compiled.logits(feats.numpy())["head_mono"])
    spliced = torch.nn.functional.pad(feats.T[None], (2, 1), mode="replicate")[0].T.unfold(0, 4, 1)
    with torch.no_grad():
        expected = model(spliced.transpose(1, 2).reshape(1, 7, 24), torch.tensor([7]))["mono"]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_rounded_floats_agree_but_for_a_step():
    """Roundings of the recurrence too; where the last bit of a float decides, a step of 2^-11 of the range."""
    model = make({"weight_bits": 8, "act_bits": 12})
    assert to_tvm.difference(model, library(of_trained(model))) < 2e-3


def unstored(stored):
    """Every step of every tile, put back where its index says: [tiles, lanes, columns]."""
    lanes, columns = stored.form.lanes, stored.shape[2]
    found = np.zeros((stored.tiles, lanes, columns), stored.values.dtype)
    if stored.form.kind in ("dense", "columns"):
        return stored.values.reshape(stored.tiles, columns, lanes).transpose(0, 2, 1)
    start, column, *place = stored.index
    for tile in range(stored.tiles):
        for step in range(start[tile], start[tile + 1]):
            for k, values in enumerate(stored.values[step].reshape(lanes, -1).T):
                at = column[step] + place[0][step].astype(int) if place else np.full(lanes, column[step] + k)
                found[tile, np.arange(lanes), at] += values
    return found


@pytest.mark.parametrize("name", PRESSES)
def test_every_mask_is_stored_whole(name):
    model = pack_model(masked(name, **W8A16), COUNTS, {})
    for layer in of_packed(model).layers:
        matrix = Matrix(layer.recurrent)
        for form in forms(4, wide=True):
            assert np.array_equal(unstored(matrix.stored(form)), matrix.tiles(form)), form


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_products_in_every_form(dtype):
    """Six frames, four of them side by side, and one: tiles of every height, pairs of columns."""
    rng = np.random.default_rng(1)
    weights = (rng.integers(-9, 9, (4, 70, 46)) * (rng.random((4, 70, 46)) < 0.3)).astype(np.int8)
    matrix = Matrix(weights if dtype == "int32" else (weights / 8).astype(dtype))
    x = rng.integers(-50, 50, (7, 46)).astype(dtype)
    target = host_target()
    loops = loops_for(target)
    of_kinds = [form for form in forms(4, loops.wide) if form.kind != "columns"]
    stored = {str(number): matrix.stored(form) for number, form in enumerate(of_kinds)}
    functions = {f"product{k}": product(loops, one, dtype) for k, one in stored.items()}
    module = tvm.IRModule({name: f.with_attr("global_symbol", name) for name, f in functions.items()})
    compiled = tvm.compile(module, target).jit()
    expected = np.einsum("grc,nc->ngr", matrix.tiles(Form("dense", 128)), x).reshape(7, -1)
    for k, one in stored.items():
        for frames in (6, 1):
            out = tvm.runtime.tensor(np.zeros((frames, expected.shape[1]), dtype))
            inputs = (x[:frames], one.values, *one.index)
            compiled[f"product{k}"](*map(tvm.runtime.tensor, inputs), out)
            assert np.array_equal(out.numpy(), expected[:frames]), one.form


def test_wide_rows_take_several_windows():
    rng = np.random.default_rng(0)
    weights = (rng.integers(1, 9, (4, 10, 700)) * (rng.random((4, 10, 700)) < 0.05)).astype(np.int8)
    weights[0, :, :690] = 0
    form = Form("banks", 16, window=256)
    assert np.array_equal(unstored(Matrix(weights).stored(form)), Matrix(weights).tiles(form))


def test_the_format_goes_by_what_is_kept():
    """At the sizes of a real layer: blocks of the hierarchy across the gates, and nothing sparse for a dense matrix."""
    rng = np.random.default_rng(0)
    finest = np.kron(rng.random((32, 256)) < 1 / 16, np.ones((2, 2)))
    dense = rng.integers(1, 9, (4, 64, 512)).astype(np.int8)
    assert str(choose(dense * finest.astype(np.int8)).stored.form) == "blocks 4x2"
    assert str(choose(dense * finest.astype(np.int8), wide=True).stored.form) == "blocks 4x2, 2 columns"
    assert choose(dense).stored.form.kind == "dense"
    few = dense * (rng.random(dense.shape) < 1 / 60)
    choice = choose(few.astype(np.int8), "few")
    assert choice.stored.form.kind == "csr" or choice.costs["csr"] < choice.costs["dense"]
    assert "few: density 0.01" in str(choice) and "dense" in str(choice)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = random_model(levels=HIERARCHY)
    directory = tmp_path_factory.mktemp("tvm")
    write_model(directory / PACKED, model)
    sys_argv, sys.argv = sys.argv, ["to_tvm", str(directory)]
    try:
        to_tvm.main()
    finally:
        sys.argv = sys_argv
    return directory / "model.so", model


def test_the_command_writes_a_library_that_examples_run(saved):
    path, model = saved
    done = subprocess.run([sys.executable, EXAMPLES / "run_library.py", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [[int(float(value)) for value in line.split()] for line in done.stdout.splitlines()]
    library = Library.load(path)
    feats = np.sin(np.arange(13)[:, None] + np.arange(5)).astype(np.float32)
    expected = library.step(feats, library.start())[0]["head_cd"][:, :4]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    compiler, include = shutil.which("g++"), Path(__import__("tvm_ffi").__file__).parent
    if compiler is None or not (include / "include").is_dir():
        pytest.skip("the C++ example: no g++, or no headers of TVM")
    libraries = [Path(tvm.__file__).parent / "lib", include / "lib"]
    program = path.parent / "run_library"
    command = [compiler, "-std=c++17", f"-I{include / 'include'}", EXAMPLES / "run_library.cc", "-o", program]
    command += [f"-L{at}" for at in libraries] + ["-ltvm_runtime", "-ltvm_ffi"]
    subprocess.run([*command, *(f"-Wl,-rpath,{at}" for at in libraries)], check=True)
    assert subprocess.run([program, path], capture_output=True, text=True, check=True).stdout == done.stdout
    wrong = subprocess.run([program, EXAMPLES / "run_library.cc"], capture_output=True, text=True)
    assert wrong.returncode == 1 and wrong.stderr.count("\n") == 1


def test_of_what_tvm_writes_only_lines_of_constants_are_left_out(saved, capfd, monkeypatch):
    load = tvm.runtime.load_module

    def and_warn(path):
        os.write(2, b"another warning\n")
        return load(path)

    monkeypatch.setattr(tvm.runtime, "load_module", and_warn)
    Library.load(saved[0])
    assert capfd.readouterr().err == "another warning\n"


def test_a_library_refuses_what_does_not_fit(saved, tmp_path):
    path, _ = saved
    library = Library.load(path)
    with pytest.raises(UserError, match=r"model.so: features of shape \[9, 4\], expected \[frames, 5\]"):
        library.logits(np.zeros((9, 4), np.float32))
    with pytest.raises(UserError, match=r"features of shape \[3, 5\], expected \[3 \+ frames, 5\]"):
        library.step(np.zeros((3, 5), np.float32), library.start())
    other = tmp_path / "other.so"
    other.write_bytes(b"no library")
    with pytest.raises(UserError, match="other.so: not a library that can be loaded"):
        Library.load(other)
    with pytest.raises(UserError, match="none.so: no such file"):
        Library.load(tmp_path / "none.so")
    stored = Matrix(np.ones((1, 2, 3), np.int8)).stored(Form("dense", 64))
    function = operators.product(operators.Loops(), stored, "int32").with_attr("global_symbol", "product")
    with pytest.raises(UserError, match="library: no network in it"):
        Library(tvm.compile(tvm.IRModule({"product": function}), QUICK))


@pytest.mark.parametrize(
    "press,message",
    [
        ({"act_bits": 8, "act_quantizer": "dynamic"}, "lstm0: .*act_quantizer without a static range"),
        ({"lstm*": {**W8A16, "cell_bits": 8}, "default": {}}, "lstm0: cell_bits"),
    ],
)
def test_refuses_what_is_not_static(press, message):
    with pytest.raises(UserError, match=message):
        of_trained(make(press))


def test_a_matrix_that_no_format_takes():
    model = make({}, batch_norm=False)
    with torch.no_grad():
        model.lstm["lstm1"].recurrent_matrix.weight[3, 3] = float("nan")
    with pytest.raises(UserError, match="lstm1.recurrent: weights that are not finite; no format takes them"):
        library(of_trained(model))
    with pytest.raises(UserError, match="wide: 65537 columns; no format takes more than 65536"):
        Matrix(np.zeros((1, 1, 65537), np.int8), "wide")


def test_another_version_of_tvm(monkeypatch, saved):
    compiled_by = tvm.__version__
    monkeypatch.setattr(tvm, "__version__", "0.26.0")
    with pytest.raises(UserError, match=r"tvm 0.26.0: expected 0.27.x; pip install"):
        packages.require_tvm()
    with pytest.raises(UserError, match=f"model.so: compiled by tvm {compiled_by}, this is 0.26.0; compile it again"):
        Library.load(saved[0])


def test_cuda_source_compiles(tmp_path):
    if tvm.get_global_func("target.build.cuda", allow_missing=True) is None:
        pytest.skip("this build of TVM generates no CUDA")
    source = cuda_source(of_packed(random_model(levels=0.2, act_bits=(16, 14, 12))), "sm_80")
    assert source.count("__global__") >= 2 * 8 and "__syncthreads" in source
    if shutil.which("nvcc") is None:
        pytest.skip("the generated CUDA is not compiled: no nvcc")
    (tmp_path / "model.cu").write_text(source)
    subprocess.run(["nvcc", "-arch=sm_80", "-cubin", "-o", tmp_path / "x", tmp_path / "model.cu"], check=True)
