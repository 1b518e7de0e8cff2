"""The inference part of the benchmark: which runtimes it times, that they compute the same, what it leaves out."""

import argparse
import dataclasses
import re

import numpy as np
import pytest
import torch

from frenchpress.bench import inference
from frenchpress.bench.inference import ORT_FLOAT, ORT_INT8, Case, Unavailable, collect, reference_lstm
from frenchpress.bench.layers import PACKED, packed_layers
from frenchpress.bench.timing import Subject
from frenchpress.common import UserError
from frenchpress.packed.runtime import library

CASE = Case(inputs=40, cells=64, layers=2, frames=6, streaming=False, threads=1, seed=0)
ARGS = argparse.Namespace(inputs=40, cells=64, layers=2, frames=4, stream_frames=3, repeats=2, seed=0, clock="wall")


@pytest.fixture(autouse=True)
def threads_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def hide(monkeypatch, name):
    """`name` cannot be imported."""

    def require(package):
        if package.split(".")[0] == name:
            raise UserError(f"{package} cannot be imported")
        return original(package)

    original = inference.require
    monkeypatch.setattr(inference, "require", require)


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
def test_every_subject_runs_on_the_same_frames(streaming):
    subjects, notes = collect(dataclasses.replace(CASE, streaming=streaming))
    for subject in subjects:
        subject.run()
        assert subject.frames == 6
    names = {s.name for s in subjects}
    assert {"torch.nn.LSTM, float", "torch.nn.LSTM, float, without oneDNN"} <= names
    assert library() is None or {f"{name}, packed" for name in PACKED} <= names
    assert torch.backends.mkldnn.enabled
    assert ("w8a16_hcgs16x, frenchpress.nnet" in names) is not streaming
    assert any("carry no state" in note for note in notes) is streaming


def test_single_weights_are_as_many_as_asked_for():
    if library() is None:
        pytest.skip("the runtime was not built: no compiler")
    dense, thin = (packed_layers(40, 64, 2, PACKED[name], 0) for name in ("w8a16", "w8a16_magnitude16x"))
    assert thin.macs < 0.75 * dense.macs  # of sixteen weights side by side one is kept, or none


def test_torch_runs_on_the_threads_of_the_case(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    dataclasses.replace(CASE, threads=3).torch_subject("x", lambda: None).run()
    assert asked == [3]


@pytest.mark.parametrize("batch", [1, 3])
def test_onnxruntime_computes_the_lstm_of_torch(batch):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    lstm, features = reference_lstm(CASE), dataclasses.replace(CASE, batch=batch).features()
    with torch.no_grad():
        expected = lstm(features)[0].numpy()
    graphs = inference._graphs(CASE.inputs, CASE.cells, CASE.layers, CASE.seed, batch)
    for name, tolerance in ((ORT_FLOAT, 1e-5), (ORT_INT8, 0.05)):
        (found,) = inference.open_session(graphs[name]).run(["y"], {"x": features.numpy()})
        np.testing.assert_allclose(found, expected, atol=tolerance)
    operators = [node.op_type for node in onnx.load_from_string(graphs[ORT_INT8]).graph.node]
    assert operators.count("DynamicQuantizeLSTM") == 2 and "LSTM" not in operators


@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_an_absent_package_is_a_note(monkeypatch, name):
    if name == "onnxruntime":
        pytest.importorskip("onnx")  # which is asked for first
    hide(monkeypatch, name)
    subjects, notes = collect(CASE)
    assert not any(s.name.startswith("onnxruntime") for s in subjects)
    assert f"onnxruntime: {name} cannot be imported" in notes


def test_tables_have_ratios_to_onnxruntime(monkeypatch, capsys):
    def runtime(case):
        if case.streaming:
            raise Unavailable("nothing to see")
        return [Subject(name, lambda: None, case.frames) for name in (ORT_INT8, ORT_FLOAT, "mine")]

    monkeypatch.setattr(inference, "RUNTIMES", (runtime,))
    monkeypatch.setattr(inference, "THREADS", (1,))
    inference.run_inference(ARGS)
    lines = capsys.readouterr().out.splitlines()
    assert "inference, 4 frames at once, 1 thread" in lines[1] and "to onnxruntime, int8" in lines[1]
    assert re.fullmatch(r"  mine +\d+\.\d +\d+\.\d\dx +\d+\.\d\dx", lines[4])
    assert re.fullmatch(r"  onnxruntime, int8 +\d+\.\d +1\.00x +\d+\.\d\dx", lines[2])
    assert lines[-1] == "left out: nothing to see"


def test_threads_of_torch_are_left_as_they_were():
    torch.set_num_threads(2)
    inference.run_inference(argparse.Namespace(**{**vars(ARGS), "repeats": 1}))
    assert torch.get_num_threads() == 2
