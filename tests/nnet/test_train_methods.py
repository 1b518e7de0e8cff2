"""Training with learned, calibrated and drawn quantizers: interrupted runs repeat, ranges are learnt and averaged."""

import json

import numpy as np
import pytest
import torch
from made_cfg import write_cfg
from stopped import run_stopped
from train_command import run

from frenchpress.common import UserError
from frenchpress.compress import learned_ranges
from frenchpress.config import config_from_dict, config_to_dict, load_config
from frenchpress.export.pack import pack_model
from frenchpress.nnet.model import AcousticModel, Sizes, load_model
from frenchpress.nnet.optimizer import RANGE_RATE, parameter_groups

CONFIG = """
model: {context: [0, 0], lstm: {cells: 8, dropout: 0.1}}
compress:
  lstm0: {weight_bits: 1, quantizer: binary, quantizer_options: {stochastic: true}, act_bits: 6,
          act_options: {range: percentile, percentile: 99.0, batches: 7}, cell_bits: 8}
  lstm1: {weight_bits: 4, quantizer: lsq, act_bits: 5, act_quantizer: pact,
          recurrent: {quantizer: apot, act_bits: 4, act_quantizer: lsq}}
  "head_*": {weight_bits: 2, quantizer: ternary, act_bits: 4, act_options: {range: mse, batches: 3}}
train: {epochs: 2, batch: 4, threads: 1, device: cpu, average: 0.9}
"""

FOUND = """
model: {context: [0, 0], lstm: {cells: 8}}
compress:
  lstm0: {weight_bits: 3, quantizer: kmeans, quantizer_options: {hessian: 5}, act_bits: 6,
          recurrent: {quantizer: inq, quantizer_options: {steps: 2}}}
  lstm1: {weight_bits: 4, quantizer: uniform, quantizer_options: {stochastic: true, range: sigma},
          mask: {method: magnitude, keep: 1/2, after_epoch: 1},
          recurrent: {quantizer: block_float, quantizer_options: {stochastic: true, columns: 4}}}
  head_cd: {weight_bits: 3, quantizer: kmeans, quantizer_options: {fixed: true}}
  head_mono: {weight_bits: 4, quantizer: affine}
train: {epochs: 2, batch: 4, threads: 1, device: cpu, average: 0.9}
"""


@pytest.fixture
def config(tmp_path):
    return write_cfg(tmp_path, CONFIG)


def test_stopped_after_every_few_steps_ends_with_the_same_bytes(monkeypatch, config, made_task, tmp_path):
    stop_again_and_again(monkeypatch, config, made_task, tmp_path)
    values = learned_ranges(load_model(tmp_path / "whole"))
    assert len(values) == 3 and all(0 < v.item() < 10 for v in values)


def test_so_do_levels_that_are_found_and_shares_that_are_fixed(monkeypatch, made_task, tmp_path):
    stop_again_and_again(monkeypatch, write_cfg(tmp_path, FOUND), made_task, tmp_path)
    model = load_model(tmp_path / "whole")
    recurrent, head = model.lstm["lstm0"].recurrent_matrix, model.head_cd.matrix
    assert recurrent.quantizer.frozen.all() and int(model.lstm["lstm0"].input_matrix.quantizer.calls) == 6
    for matrix in (recurrent, head, model.lstm["lstm1"].input_matrix, model.head_mono.matrix):
        integers, scale = matrix.integers()
        assert torch.equal(integers * scale, matrix())
    assert len(head().unique()) <= 8
    with pytest.raises(UserError, match="^lstm0: quantizer kmeans: its integers, .* use uniform or lsq"):
        pack_model(model, np.ones(12, np.int64), {})


def test_held_weights_stay_with_decay_and_momentum(monkeypatch, made_task, tmp_path):
    path = write_cfg(tmp_path, FOUND)
    moving = ("train.weight_decay=100", "train.momentum=0.5")
    run(monkeypatch, path, made_task, tmp_path / "x", *(word for one in moving for word in ("--set", one)))
    first = AcousticModel(load_config(path), Sizes(40, 12, 4)).state_dict()
    last = load_model(tmp_path / "x").state_dict()
    torch.testing.assert_close(last["head_cd.matrix.weight"], first["head_cd.matrix.weight"])
    assert last["head_mono.matrix.weight"].norm() < 0.9 * first["head_mono.matrix.weight"].norm()


def stop_again_and_again(monkeypatch, config, made_task, tmp_path):
    """Train twice, once whole and once interrupted; the models are the same to the byte."""
    run(monkeypatch, config, made_task, tmp_path / "whole")
    run_stopped(monkeypatch, config, made_task, tmp_path / "broken", every=2)
    assert (tmp_path / "broken" / "final.pt").read_bytes() == (tmp_path / "whole" / "final.pt").read_bytes()


def test_learned_ranges_have_groups_of_their_own(config):
    model, settings = AcousticModel(load_config(config), Sizes(40, 12, 4)), load_config(config).train
    groups = parameter_groups(model, settings)
    assert [group["lr"] for group in groups] == [0.0016, 0.0016, 0.0004, 0.0016 * RANGE_RATE]
    assert [id(p) for p in groups[3]["params"]] == [id(p) for p in learned_ranges(model.lstm)]
    everything = [id(p) for group in groups for p in group["params"]]
    assert sorted(everything) == sorted(id(p) for p in model.parameters())


def test_without_them_there_are_three_groups():
    config = config_from_dict({"model": {"lstm": {"cells": 8}}}, "test")
    assert len(parameter_groups(AcousticModel(config, Sizes(40, 12, 4)), config.train)) == 3


def test_the_configuration_comes_back_and_says_no_more_than_it_was_told(config):
    read = load_config(config)
    plain = config_to_dict(read)
    assert config_from_dict(plain, "again") == read
    assert plain["compress"]["lstm1"]["recurrent"] == {"quantizer": "apot", "act_bits": 4, "act_quantizer": "lsq"}
    assert "cell_bits" not in plain["compress"]["head_*"] and "input" not in plain["compress"]["lstm0"]


@pytest.mark.parametrize(
    "override, words",
    [
        ("compress.lstm7.weight_bits=4", "compress.lstm7: matches no layer"),
        ("compress.lstm0.cell_bits=0", "compress.lstm0.cell_bits: 0 is not a number of bits"),
        ("compress.lstm0.input.weight_bits=99", "compress.lstm0.input.weight_bits: 99 is not a number of bits"),
        ("compress.lstm0.input.wieght_bits=4", "unknown key; did you mean weight_bits"),
        ("compress.lstm0.input=4", "expected a section"),
        ("compress.lstm0.quantizer_options=4", "expected a section"),
        ("compress.lstm0.weight_bits=4", "lstm0.weight_bits: 4: quantizer binary takes 1 bit"),
        ("compress.lstm0.quantizer_options.seed=4", "binary: unknown option 'seed' \\(known: per_row, stochastic\\)"),
        (
            "compress.lstm1.recurrent.weight_bits=9",
            "lstm1.recurrent.weight_bits: 9: quantizer apot takes 3 to 8 bits",
        ),
        ("compress.lstm0.act_options.range=best", "range: unknown 'best' \\(known: minmax, percentile, kl, mse, s"),
        ("compress.head_cd.cell_bits=4", "head_cd.cell_bits: only an LSTM layer has this"),
    ],
)
def test_what_is_wrong_is_one_clear_line_and_starts_nothing(monkeypatch, config, made_task, tmp_path, override, words):
    with pytest.raises(UserError, match=words) as error:
        run(monkeypatch, config, made_task, tmp_path / "x", "--set", override)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "x").exists()


def test_errors_are_noted_and_change_nothing(monkeypatch, config, made_task, tmp_path):
    run(monkeypatch, config, made_task, tmp_path / "plain")
    run(monkeypatch, config, made_task, tmp_path / "noted", "--set", "train.errors=true")
    run(monkeypatch, config, made_task, tmp_path / "noted")  # up to date, asked for or not
    assert load_model(tmp_path / "plain").state_dict().keys() == load_model(tmp_path / "noted").state_dict().keys()
    for ours, theirs in zip(*(load_model(tmp_path / n).state_dict().values() for n in ("plain", "noted"))):
        assert torch.equal(ours, theirs)
    last = json.loads((tmp_path / "noted/metrics.jsonl").read_text().splitlines()[-1])["errors"]
    names = {"lstm.lstm0.input_matrix", "lstm.lstm1.recurrent_matrix", "head_cd.matrix", "lstm.lstm0.act_in"}
    assert names <= set(last) and all(set(one) == {"sqnr", "cosine", "l1", "kl"} for one in last.values())
    assert 0 < last["lstm.lstm1.recurrent_matrix"]["sqnr"] < 40
