"""Runs with the masks of another one: the pruned structure trained from scratch, or from other weights."""

import pytest
import torch
import yaml
from made_cfg import write_cfg
from stopped import run_stopped
from train_command import run, run_once

from frenchpress.common import UserError
from frenchpress.config import load_config
from frenchpress.nnet.check import build_model
from frenchpress.nnet.given import take_masks
from frenchpress.nnet.model import load_model
from frenchpress.nnet.order import training_order
from frenchpress.report.lineage import lineage

PRUNED = """
model: {context: [1, 1], lstm: {cells: 16}}
compress:
  lstm0: {mask: {method: magnitude, keep: 1/4, start_epoch: 0, end_epoch: 1, every: 3}}
  lstm1: {mask: {method: cell, keep: 1/2, after_epoch: 1}}
train: {epochs: 2, batch: 4, threads: 1, device: cpu, sequence_length: {start: 20}, average: 0.9}
"""
SCRATCH = "base: pruned.cfg\ntrain: {mask_from: pruned, epochs: 1}\n"


@pytest.fixture(scope="module")
def made(made_task, tmp_path_factory):
    """A pruned model, and its structure trained from scratch."""
    place = tmp_path_factory.mktemp("masks")
    for name, text in (("pruned", PRUNED), ("scratch", SCRATCH)):
        run_once(write_cfg(place, text, f"{name}.cfg"), made_task, place / name)
    return place


def masks(model):
    return {name: value for name, value in model.state_dict().items() if name.endswith("mask")}


def test_masks_are_those_of_the_other_and_stay(made):
    pruned, scratch = load_model(made / "pruned"), load_model(made / "scratch")
    theirs = masks(pruned)
    assert len(theirs) == 6 and all(torch.equal(mask, theirs[name]) for name, mask in masks(scratch).items())
    weights = [model.lstm["lstm0"].recurrent_matrix.weight for model in (pruned, scratch)]
    assert not torch.equal(*weights)
    assert yaml.safe_load((made / "scratch/size.yaml").read_text())["weight_ratio"] > 2
    assert lineage(made / "scratch").totals["epochs_in_all"] == 1
    assert lineage(made / "scratch").totals["seconds_in_all"] > 0


def test_from_scratch_weights_begin_larger_by_what_their_rows_lose(made):
    pruned = load_model(made / "pruned")
    plain, grown = (build_model("x", load_config(made / "pruned.cfg"), pruned.sizes) for _ in range(2))
    take_masks(grown, pruned, made, scratch=True)
    first, second = ([m.lstm[name].recurrent_matrix for m in (plain, grown)] for name in ("lstm0", "lstm1"))
    kept = dict(pruned.named_modules())["lstm.lstm0.recurrent_matrix"].full_mask()
    inputs = float(kept.sum() / kept.any(1).sum() / 16)  # a quarter, where no row is empty
    torch.testing.assert_close(first[1].weight, first[0].weight / inputs**0.5)
    torch.testing.assert_close(second[1].weight, second[0].weight * 2**0.5)  # half of the cells read
    torch.testing.assert_close(grown.head_cd.matrix.weight, plain.head_cd.matrix.weight * 2**0.5)
    before = plain.lstm["lstm0"].recurrent_matrix.weight.clone()
    take_masks(plain, pruned, made, scratch=False)
    assert torch.equal(plain.lstm["lstm0"].recurrent_matrix.weight, before)


def test_interrupted_it_ends_with_the_same_bytes(monkeypatch, made, made_task, tmp_path):
    cfg = write_cfg(tmp_path, f"base: {made}/pruned.cfg\ntrain: {{mask_from: {made}/pruned, epochs: 1}}\n")
    run(monkeypatch, cfg, made_task, tmp_path / "whole")
    run_stopped(monkeypatch, cfg, made_task, tmp_path / "broken", 2)
    assert (tmp_path / "broken/final.pt").read_bytes() == (tmp_path / "whole/final.pt").read_bytes()


def test_the_other_is_trained_first(made, tmp_path):
    order = training_order([made / "scratch.cfg"], [], tmp_path)
    assert [training.name for training in order] == ["pruned", "scratch"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("compress.lstm0.mask.method=row", "train.mask_from: .*: lstm.lstm0.input_matrix: mask magnitude, and .* row"),
        ("model.lstm.cells=8", "lstm.lstm0.input_matrix: another layer, and"),
        ("train.mask_from=nothing", "train.mask_from: .*nothing: no trained model"),
        ("train.mask_from=''", "mask_from: expected the directory of a trained experiment"),
        ("train.epochs=0", "epochs: 0 trains nothing"),
    ],
)
def test_what_cannot_be_is_one_clear_line(monkeypatch, made, made_task, override, words):
    with pytest.raises(UserError, match=words) as error:
        run(monkeypatch, made / "scratch.cfg", made_task, made / "x", "--set", override)
    assert "\n" not in str(error.value) and not (made / "x").exists()
