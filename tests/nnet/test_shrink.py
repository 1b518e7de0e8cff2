"""Models without their removed cells: they say the same, are packed and trained on, or are refused."""

import sys

import numpy as np
import pytest
import torch
import yaml
from made_cfg import write_cfg
from train_command import run, run_once

from frenchpress.common import UserError
from frenchpress.export.pack import pack_model
from frenchpress.nnet import shrink as module
from frenchpress.nnet.decode import trained_config
from frenchpress.nnet.model import load_model

CELLS = """
model: {context: [1, 1], lstm: {cells: 16}}
compress:
  "lstm*": {weight_bits: 8, act_bits: 12, mask: {method: cell, keep: 1/4, after_epoch: 0}}
  default: {weight_bits: 8, act_bits: 12}
train: {epochs: 2, batch: 4, threads: 1, device: cpu, average: 0.9}
"""
LSQ = """
base: cells.cfg
model: {lstm: {batch_norm: false}}
compress: {lstm0: {weight_bits: 4, act_bits: 12, quantizer: lsq, mask: {method: cell, keep: 1/4, after_epoch: 0}}}
"""


@pytest.fixture(scope="module")
def made(made_task, tmp_path_factory):
    place = tmp_path_factory.mktemp("cells")
    for name, text in (("cells", CELLS), ("lsq", LSQ)):
        run_once(write_cfg(place, text, f"{name}.cfg"), made_task, place / name)
    return place


@pytest.mark.parametrize("name", ["cells", "lsq"])
def test_it_says_the_same_with_fewer_cells(made, tmp_path, name):
    small, large = module.shrink_experiment(made / name, tmp_path / "small"), load_model(made / name)
    assert [layer.cells for layer in small.lstm.values()] == [4, 4]
    feats = torch.randn(40, 40)
    again = load_model(tmp_path / "small")
    for one in (small, again):
        torch.testing.assert_close(one.log_posteriors(feats), large.log_posteriors(feats), atol=1e-4, rtol=0)
    sizes = [yaml.safe_load((place / "size.yaml").read_text()) for place in (tmp_path / "small", made / name)]
    assert sizes[0]["kept"] == sizes[1]["kept"] == sizes[0]["macs_dense"]
    assert sizes[0]["stored_bytes"] < sizes[1]["stored_bytes"]  # no index, and fewer biases
    assert trained_config(tmp_path / "small").model.lstm.cells == 4
    pack_model(again, np.ones(again.sizes.num_pdfs, np.int64), {})


def test_the_command_and_training_on(monkeypatch, capsys, made, made_task):
    command = ["shrink", str(made / "cells"), str(made / "small")]
    monkeypatch.setattr(sys, "argv", command)
    module.main()
    assert "4 cells a layer" in capsys.readouterr().out
    with pytest.raises(UserError, match="small: is there already"):
        module.main()
    text = "model: {context: [1, 1], lstm: {cells: 4}}\ntrain: {init: small, epochs: 1, threads: 1, device: cpu}\n"
    run(monkeypatch, write_cfg(made, text, "on.cfg"), made_task, made / "on")
    assert load_model(made / "on").lstm["lstm1"].cells == 4


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("compress.lstm*.mask=null", "cells: no cells are removed; train with mask: {method: cell"),
        ("compress.lstm1={mask: {method: cell, keep: 1/2, after_epoch: 0}}", "lstm0 keeps 4, lstm1 keeps 8; all"),
    ],
)
def test_what_cannot_be_is_one_clear_line(monkeypatch, made, made_task, tmp_path, override, words):
    out = tmp_path / "cells"
    run(monkeypatch, made / "cells.cfg", made_task, out, "--set", override, "--set", "train.epochs=1")
    with pytest.raises(UserError, match=words) as error:
        module.shrink_experiment(out, tmp_path / "small")
    assert "\n" not in str(error.value) and not (tmp_path / "small").exists()


def test_a_quantizer_that_looks_at_removed_columns_is_refused(monkeypatch, made):
    model = load_model(made / "cells")
    quantizer = type(model.head_cd.matrix.quantizer)
    plain = quantizer.forward
    monkeypatch.setattr(quantizer, "forward", lambda self, x: plain(self, x) / x.shape[-1])
    with pytest.raises(UserError, match="quantizer uniform rounds what is left to other values"):
        module.shrink(model)
