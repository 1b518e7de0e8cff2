"""Acoustic models of low rank through the `.cfg`: their start, interrupted runs, what refuses them."""

import sys

import numpy as np
import pytest
import torch
import yaml
from made_cfg import write_cfg
from stopped import run_stopped
from train_command import run, run_once

from frenchpress.common import UserError
from frenchpress.compress import low_rank
from frenchpress.export.pack import pack_model
from frenchpress.nnet.model import load_model
from frenchpress.report import ranks

DENSE = """
model: {context: [1, 1], lstm: {cells: 16}}
compress: {default: {weight_bits: 8, act_bits: 12}}
train: {epochs: 2, batch: 4, threads: 1, device: cpu, sequence_length: {start: 20}, average: 0.9}
"""
FACTORED = """
base: dense.cfg
compress:
  default: {factors: {keep: 1/2}}
  lstm1: {weight_bits: 8, act_bits: 12, recurrent: {factors: {rank: 3}}}
"""


@pytest.fixture(scope="module")
def made(made_task, tmp_path_factory):
    """A dense model, and one of low rank that was trained from scratch."""
    place = tmp_path_factory.mktemp("factored")
    write_cfg(place, DENSE, "dense.cfg")
    write_cfg(place, FACTORED, "factored.cfg")
    for name in ("dense", "factored"):
        run_once(place / f"{name}.cfg", made_task, place / name)
    return place


def test_it_is_trained_counted_and_loaded(made):
    model = load_model(made / "factored")
    assert model.lstm["lstm1"].recurrent_matrix.rank == 3
    assert model.lstm["lstm1"].input_matrix.mask is None and model.head_cd.matrix.rank >= 1
    size = yaml.safe_load((made / "factored/size.yaml").read_text())
    dense = yaml.safe_load((made / "dense/size.yaml").read_text())
    assert size["macs_dense"] == dense["macs_dense"] and size["kept"] < 0.7 * dense["kept"]
    assert size["stored_bytes"] < dense["stored_bytes"]
    # Kernels and plain torch agree.
    feats = torch.randn(30, model.sizes.feat_dim)
    native = model.batch_log_posteriors([feats] * 8)[0]
    torch.testing.assert_close(native, model.batch_log_posteriors([feats])[0], atol=1e-2, rtol=0)


def test_it_starts_from_the_best_approximation(monkeypatch, made, made_task, tmp_path):
    out = made / "started"
    run(monkeypatch, made / "factored.cfg", made_task, out, "--set", "train.init=dense", "--set", "train.epochs=0")
    dense, model = load_model(made / "dense"), load_model(out)
    theirs = dict(dense.named_modules())
    for name in ("lstm.lstm0.input_matrix", "lstm.lstm1.recurrent_matrix", "head_cd.matrix"):
        matrix = dict(model.named_modules())[name]
        left, right = low_rank(theirs[name].weight, matrix.rank)
        assert torch.equal(matrix.left.weight, left) and torch.equal(matrix.right.weight, right)


def test_interrupted_it_ends_with_the_same_bytes(monkeypatch, made, made_task, tmp_path):
    run_stopped(monkeypatch, made / "factored.cfg", made_task, tmp_path / "broken", 3)
    assert (tmp_path / "broken/final.pt").read_bytes() == (made / "factored/final.pt").read_bytes()


def test_it_is_not_packed(made):
    model = load_model(made / "factored")
    with pytest.raises(UserError, match="^lstm0: factors: a packed model multiplies with one matrix, not with two"):
        pack_model(model, np.ones(model.sizes.num_pdfs, np.int64), {})


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("{factors: {rank: 40}}", "x.cfg:2: compress.default.factors.rank: 40 is above that of the matrix: .* at most"),
        ("{factors: {rank: 15}}", "factors.rank: 15: .* are no fewer weights than .*; use at most"),
        ("{factors: {rank: 2, keep: 1/2}}", "say either rank, a number, or keep"),
        ("{factors: {rank: 2}, prune: {keep: 1/2, after_epoch: 1}}", "factors: two small matrices .* leave mask"),
    ],
)
def test_what_is_wrong_is_one_clear_line(monkeypatch, made_task, tmp_path, said, words):
    path = write_cfg(tmp_path, f"model: {{lstm: {{cells: 16}}}}\ncompress: {{default: {said}}}\n")
    with pytest.raises(UserError, match=words) as error:
        run(monkeypatch, path, made_task, tmp_path / "x")
    assert "\n" not in str(error.value) and not (tmp_path / "x").exists()


def test_cells_that_factors_read_cannot_be_removed(monkeypatch, made_task, tmp_path):
    text = "model: {lstm: {cells: 16}}\ncompress:\n  lstm0: {mask: {method: cell, keep: 1/2, after_epoch: 1}}\n"
    path = write_cfg(tmp_path, text + "  default: {factors: {rank: 2}}\n")
    with pytest.raises(UserError, match="mask: cell: what reads these cells has factors"):
        run(monkeypatch, path, made_task, tmp_path / "x")


def test_ranks_are_told_and_can_be_used(monkeypatch, capsys, made, made_task, tmp_path):
    monkeypatch.setattr(sys, "argv", ["ranks", str(made / "dense"), "--energy", "0.3", "0.5"])
    ranks.main()
    table, _, said = capsys.readouterr().out.partition("\ncompress:")
    assert "| lstm.lstm0.input_matrix" in table and "rank, 0.3" in table
    path = write_cfg(tmp_path, f"base: {made / 'dense.cfg'}\ntrain: {{epochs: 1}}\ncompress:{said}")
    run(monkeypatch, path, made_task, tmp_path / "again")
    assert load_model(tmp_path / "again").lstm["lstm0"].recurrent_matrix.rank >= 1
