"""Trained models against onnxruntime on their graphs: log posteriors, streaming, what the command says and refuses."""

import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from frenchpress.config import config_from_dict, config_to_dict  # noqa: E402
from frenchpress.export.session import open_session  # noqa: E402
from frenchpress.export.to_onnx import OUTPUTS, differences, export_model, largest_difference, static_grid  # noqa: E402
from frenchpress.nnet.model import AcousticModel, Sizes  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = Sizes(feat_dim=6, num_pdfs=11, num_phones=5)
INPUTS = 18
HCGS = {"blocks": [4, 2], "keep": ["1/2", "1/2"]}
LENGTHS = 3, 40
PRESSES = {
    "float": {},
    "w8": {"weight_bits": 8},
    "w4_hcgs": {"weight_bits": 4, "hcgs": HCGS},
    "w1_hcgs": {"weight_bits": 1, "hcgs": {**HCGS, "share_gates": False}},
    "ceil": {"weight_bits": 3, "quantizer": "ceil"},
}


def make(press, layers=2, batch_norm=True, calibrate=True):
    """A small model with inputs off centre, and with batch norms and activation ranges that have seen data."""
    torch.manual_seed(1)
    lstm = {"layers": layers, "cells": 16, "batch_norm": batch_norm}
    values = {"model": {"context": [1, 1], "lstm": lstm}, "compress": {"default": press}}
    model = AcousticModel(config_from_dict(values, "test"), SIZES)
    model.input_mean.copy_(torch.randn(INPUTS))
    model.input_scale.copy_(torch.rand(INPUTS) + 0.5)
    with torch.no_grad():
        for head in (model.head_cd, model.head_mono):
            head.bias.normal_()
        for layer in model.lstm.values():
            if layer.norm is not None:
                layer.norm.weight.uniform_(-1.5, 1.5)
            (layer.bias if layer.norm is None else layer.norm.bias).normal_()
        if calibrate:
            model(3 * torch.randn(4, 30, INPUTS), torch.full((4,), 30))
    return model.eval()


@pytest.mark.parametrize("batch_norm", [True, False], ids=["norm", "bias"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("press", PRESSES.values(), ids=PRESSES)
def test_float_activations_agree_to_rounding(press, layers, batch_norm):
    model = make(press, layers, batch_norm)
    exported = export_model(model, "test").SerializeToString()
    for frames in LENGTHS:
        assert largest_difference(model, exported, frames) < 1e-5
    assert differences(model) == []


@pytest.mark.parametrize("act_bits, tolerance", [(16, 2e-4), (8, 0.05)])
def test_quantized_activations_differ_by_the_rounding_in_the_recurrence(act_bits, tolerance):
    """The bound is for this small model; the second half shows that nothing else differs.

    Without the rounding of h inside the recurrence the model is the graph, but for values so near the middle of two
    grid points that the last bit decides; such a value moves by a step, 2^(1 - bits) of its range.
    """
    model = make({"weight_bits": 8, "act_bits": act_bits, "hcgs": HCGS})
    exported = export_model(model, "test").SerializeToString()
    short, long = (largest_difference(model, exported, frames) for frames in LENGTHS)
    assert short < tolerance and 2e-6 < long < tolerance
    assert len(differences(model)) == 2 and "lstm0: outputs are not rounded" in differences(model)[0]
    without = copy.deepcopy(model)
    for layer in without.lstm.values():
        layer.act_out.bits = 32
    features = torch.randn(60, 1, INPUTS) / model.input_scale + model.input_mean
    with torch.no_grad():
        expected = without(features.transpose(0, 1), torch.tensor([60]))["cd"].log_softmax(-1).numpy()
    (found,) = open_session(exported).run([OUTPUTS["cd"]], {"features": features.numpy()})
    assert np.median(np.abs(found[:, 0] - expected)) < 1e-5


def test_ranges_of_the_tensor_are_left_out_and_named():
    dynamic = make({"act_bits": 8, "act_quantizer": "dynamic"}, layers=1)
    uncalibrated = make({"act_bits": 8}, layers=1, calibrate=False)
    assert [line.split(":")[0] for line in differences(dynamic)] == ["lstm0", "lstm0", "head_cd", "head_mono"]
    assert [line.split(":")[0] for line in differences(uncalibrated)] == ["lstm0", "lstm0"]
    assert static_grid(dynamic.head_cd.act) is None and static_grid(uncalibrated.head_cd.act) is not None
    nodes = [node.op_type for node in export_model(dynamic, "test").graph.node]
    assert nodes.count("LSTM") == 1 and "Round" not in nodes


@pytest.mark.parametrize("chunk", [1, 7])
def test_a_stream_of_chunks_is_the_whole(chunk):
    exported = export_model(make({"weight_bits": 8, "act_bits": 8}), "test").SerializeToString()
    session = open_session(exported)
    features = np.random.default_rng(0).normal(size=(23, 1, INPUTS)).astype(np.float32)
    names = [*OUTPUTS.values(), "hn", "cn"]
    whole = session.run(names, {"features": features})
    parts, states = [], {}
    for start in range(0, len(features), chunk):
        *outputs, h, c = session.run(names, {"features": features[start : start + chunk], **states})
        states = {"h0": h, "c0": c}
        parts.append(outputs)
    for found, expected in zip((*map(np.concatenate, zip(*parts)), h, c), whole):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_file_says_how_to_splice():
    exported = export_model(make({}), "name")
    assert exported.graph.name == "name"
    metadata = {entry.key: entry.value for entry in exported.metadata_props}
    assert metadata == {"context_left": "1", "context_right": "1", "time_stride": "1", "feat_dim": "6"}


def save(model, directory):
    directory.mkdir()
    saved = {"config": config_to_dict(model.config), "sizes": model.description(), "model": model.state_dict()}
    torch.save(saved, directory / "final.pt")
    return directory


def run_cli(*arguments, without=None, tmp_path=None):
    """The command; `without`: a package that cannot be imported there."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    if without is not None:
        (tmp_path / "hidden").mkdir()
        (tmp_path / "hidden" / f"{without}.py").write_text("raise ImportError('hidden')\n")
        env["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "hidden"), env.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "frenchpress.export.to_onnx", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=env)


def test_command_writes_and_compares(tmp_path):
    directory = save(make({"weight_bits": 8, "act_bits": 16}), tmp_path / "x")
    done = run_cli(directory)
    assert done.returncode == 0, done.stderr
    onnx.checker.check_model(str(directory / "model.onnx"), full_check=True)
    assert "inside the recurrence" in done.stdout
    assert "random features: " in done.stdout and "(20 frames)" in done.stdout and "(300 frames)" in done.stdout
    assert sorted(p.name for p in directory.iterdir()) == ["final.pt", "model.onnx"]


def test_command_goes_without_onnxruntime(tmp_path):
    directory = save(make({}), tmp_path / "x")
    done = run_cli(directory, "--out", tmp_path / "y.onnx", without="onnxruntime", tmp_path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "y.onnx").exists() and "not compared with the model: onnxruntime" in done.stdout


def test_command_refuses_in_one_line(tmp_path):
    directory = save(make({}), tmp_path / "x")
    for arguments, text in (
        ((tmp_path / "none",), "none/final.pt: no such file"),
        ((directory, "--out", tmp_path), "is a directory, expected a file"),
    ):
        done = run_cli(*arguments)
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and text in done.stderr
    done = run_cli(directory, without="onnx", tmp_path=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "pip install -e '.[export]'" in done.stderr
