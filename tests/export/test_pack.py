"""Trained models packed: they agree with the training graph to the activation's rounding, or are refused by name."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from frenchpress.common import UserError
from frenchpress.compress.mask_schedule import MaskSchedule
from frenchpress.compress.quantizers import groups_of
from frenchpress.config import config_from_dict
from frenchpress.export.decode_packed import Network, difference_line
from frenchpress.export.pack import pack_model
from frenchpress.nnet.model import AcousticModel, Sizes
from frenchpress.packed.model import UNSEEN
from frenchpress.packed.runtime import Runtime
from frenchpress.packed.write import model_bytes

SIZES = Sizes(feat_dim=6, num_pdfs=11, num_phones=5)
COUNTS = np.array([0, 5, 9, 100, 3, 2, 0, 7, 8, 1, 4])
HCGS = {"blocks": [4, 2], "keep": ["1/2", "1/2"]}
W8A16 = {"weight_bits": 8, "act_bits": 16}
PRESSES = {
    "w8a16": W8A16,
    "w8a16_hcgs": {**W8A16, "hcgs": HCGS},
    "own masks": {**W8A16, "hcgs": {**HCGS, "share_gates": False}},
    "w4a14": {"weight_bits": 4, "act_bits": 14, "hcgs": HCGS},
    "w1a16": {"weight_bits": 1, "act_bits": 16, "hcgs": HCGS},
    "lsq": {"weight_bits": 4, "act_bits": 16, "quantizer": "lsq"},
    "pact": {"weight_bits": 8, "act_bits": 12, "act_quantizer": "pact"},
    "guided": {**W8A16, "mask": {"method": "guided", **HCGS, "share_gates": False, "after_epoch": 1}},
    "dynamic": {**W8A16, "mask": {"method": "dynamic", "block": 4, "keep": "1/2", "start_epoch": 0, "end_epoch": 1}},
    "ceil": {"weight_bits": 6, "act_bits": 16, "quantizer": "ceil"},
    "delta": {"default": W8A16, "lstm*": {**W8A16, "delta": {"input": 0.4, "output": 0.002}}},
}


def make(press, layers=2, batch_norm=True, dropout=0.0, cells=16):
    """A small model whose batch norms and ranges have seen data."""
    torch.manual_seed(1)
    lstm = {"layers": layers, "cells": cells, "batch_norm": batch_norm, "dropout": dropout}
    compress = press if "default" in press else {"default": press}
    model = AcousticModel(
        config_from_dict({"model": {"context": [2, 1], "lstm": lstm}, "compress": compress}, "test"), SIZES
    )
    MaskSchedule(model, units=model.units).finish()
    model.input_mean.copy_(torch.randn(6).repeat(4))
    model.input_scale.copy_((torch.rand(6) + 0.5).repeat(4))
    with torch.no_grad():
        model.head_cd.bias.normal_()
        for layer in model.lstm.values():
            if layer.norm is not None:
                layer.norm.weight.uniform_(-1.5, 1.5)
            (layer.bias if layer.norm is None else layer.norm.bias).normal_()
        model(3 * torch.randn(4, 30, 24), torch.full((4,), 30))
    return model.eval()


@pytest.mark.parametrize(("context", "stride"), [([6, 3], 3), ([-4, 4], 1)])
def test_frames_apart_are_packed(context, stride):
    lstm = {"layers": 1, "cells": 8}
    values = {"model": {"context": context, "time_stride": stride, "lstm": lstm}, "compress": {"default": W8A16}}
    model = AcousticModel(config_from_dict(values, "test"), SIZES)
    model(3 * torch.randn(4, 30, 6 * len(model.offsets)), torch.full((4,), 30))
    feats = torch.randn(23, 6)
    packed = pack_model(model.eval(), COUNTS, {})
    assert packed.input.offsets == model.offsets
    ours = Runtime(model_bytes(packed)).log_posteriors(feats.numpy())
    np.testing.assert_allclose(ours, model.log_posteriors(feats).numpy(), atol=1e-2)


def test_a_model_that_was_never_calibrated_is_not_packed():
    values = {"model": {"context": [2, 1], "lstm": {"layers": 1, "cells": 8}}, "compress": {"default": W8A16}}
    with pytest.raises(UserError, match="lstm0: act_quantizer of lstm.lstm0.act_in: its range was never calibrated"):
        pack_model(AcousticModel(config_from_dict(values, "test"), SIZES), COUNTS, {})


def test_a_matrix_with_a_nan_is_not_packed():
    model = make({**W8A16, "weight_bits": 1, "quantizer": "binary"})
    with torch.no_grad():
        model.lstm["lstm1"].recurrent_matrix.weight[3, 3] = float("nan")
    with pytest.raises(UserError, match="lstm1: lstm.lstm1.recurrent_matrix: holds numbers that are NaN"):
        pack_model(model, COUNTS, {})


def test_scales_of_groups_of_columns_are_not_packed(monkeypatch):
    model = make(W8A16)
    monkeypatch.setattr(type(model.head_cd.matrix.quantizer), "granularity", groups_of(8))
    with pytest.raises(UserError, match="lstm0: quantizer uniform: one scale for 8 columns of a row; a packed model"):
        pack_model(model, COUNTS, {})


def packed(model) -> Runtime:
    return Runtime(model_bytes(pack_model(model, COUNTS, {})))


def check(model, tolerance):
    runtime = packed(model)
    feats = 2 * torch.randn(60, 6, generator=torch.Generator().manual_seed(3))
    mine, theirs = Network(runtime)([feats])[0], model.log_posteriors(feats)
    assert mine.shape == theirs.shape
    assert float((mine - theirs).abs().max()) < tolerance


@pytest.mark.parametrize("press", PRESSES)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_agrees_with_the_training_graph(press, batch_norm):
    bits = PRESSES[press].get("default", PRESSES[press])["act_bits"]
    check(make(PRESSES[press], batch_norm=batch_norm), 200 * 2.0**-bits)


def test_layers_of_different_bits_and_ranges():
    press = {"lstm0": W8A16, "lstm1": {"weight_bits": 5, "act_bits": 12}, "default": {"weight_bits": 8, "act_bits": 14}}
    check(make(press, dropout=0.25), 0.06)


@pytest.mark.parametrize("layers,cells", [(1, 16), (3, 10), (2, 7)])
def test_other_sizes(layers, cells):
    check(make(W8A16, layers=layers, cells=cells), 0.005)


def test_the_network_is_timed_while_it_decodes():
    network = Network(packed(make(W8A16)))
    network([torch.zeros(30, 6), torch.zeros(10, 6)])
    assert network.frames == 40 and network.seconds > 0
    network.seconds = 0.004
    assert str(network) == "40 frames, 100.0 us of processor time each, 0.0100 of real time"


def test_priors_are_those_of_training():
    runtime = packed(make(W8A16))
    unseen = runtime.model.log_prior == UNSEEN
    assert np.array_equal(unseen, COUNTS == 0)
    assert np.allclose(np.exp(runtime.log_priors()), COUNTS / COUNTS.sum(), atol=1e-4)


@pytest.mark.parametrize(
    "press,message",
    [
        ({"weight_bits": 8}, "lstm0: act_bits 32: a packed model has 2 to 16"),
        ({"act_bits": 16}, "lstm0: weights take 32 bits; a packed model has at most 8"),
        ({"weight_bits": 8, "act_bits": 16, "quantizer": "ceil"}, "lstm0: weights take 9 bits"),
        ({**W8A16, "act_quantizer": "dynamic"}, "lstm0: act_quantizer dynamic: its scale depends on the batch"),
        ({"head_cd": {}, "default": W8A16}, "head_cd: act_bits 32"),
        ({"lstm*": {**W8A16, "cell_bits": 8}, "default": W8A16}, "lstm0: cell_bits: a packed model keeps"),
        ({**W8A16, "weight_bits": 5, "quantizer": "pot"}, "lstm0: quantizer pot: its integers"),
    ],
)
def test_refuses_what_has_no_integers(press, message):
    with pytest.raises(UserError, match=message):
        pack_model(make(press), COUNTS, {})


def test_the_command_names_what_is_missing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "frenchpress.export.pack", "--task", str(tmp_path), str(tmp_path / "x")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "no finished task directory" in done.stderr and "Traceback" not in done.stderr


def test_utterances_that_differ_are_counted_and_the_first_named():
    line = "decode_dev: {} utterances differ from the trained model's"
    assert difference_line("decode_dev", []) == line.format(0)
    assert difference_line("decode_dev", ["u1", "u2"]) == line.format(2) + " u1 u2"
    names = [f"u{n}" for n in range(10)]
    said = " u0 u1 u2 u3 u4 u5 u6 u7 and 2 more, see hyp.txt of both"
    assert difference_line("decode_dev", names) == line.format(10) + said
