"""Training with masks that change: interrupted runs repeat to the byte, the average and the best model follow."""

import json
from contextlib import suppress

import pytest
import torch
import yaml
from made_cfg import write_cfg
from train_command import run, run_once

from frenchpress.common import UserError
from frenchpress.compress import PressedWeight
from frenchpress.config.press import LayerPress
from frenchpress.kernels.native import backend as native_lstm
from frenchpress.kernels.native import library
from frenchpress.nnet.lstm import QuantLSTMLayer
from frenchpress.nnet.model import load_model
from frenchpress.nnet.train import loop as module

CONFIG = """
model: {context: [1, 1], lstm: {cells: 16, dropout: 0.1}}
compress:
  lstm0:
    weight_bits: 8
    act_bits: 16
    mask: {method: guided, blocks: [8, 2], keep: [1/2, 1/2], start_epoch: 1, end_epoch: 2, every: 2, lasso: 1e-3}
    recurrent: {mask: {method: dynamic, block: 4, keep: 1/2, drop: 0.5, start_epoch: 0, end_epoch: 2, every: 3}}
  lstm1: {weight_bits: 8, act_bits: 16, mask: {method: magnitude, keep: 1/4, after_epoch: 1, every: 1}}
  head_cd:
    weight_bits: 6
    act_bits: 8
    mask: {method: bank, bank: 8, keep: 1/4, start_epoch: 0, end_epoch: 2, every: 2, score: taylor, targeted: true}
  head_mono:
    weight_bits: 4
    act_bits: 8
    mask: {method: pattern, dictionary: kmeans, place: random, block: 2, nonzeros: 1, count: 3,
           after_epoch: 1, every: 4}
train: {epochs: 3, batch: 4, threads: 1, device: cpu, sequence_length: {start: 20}, average: 0.9}
"""


# Every other mask, with quantizers that learn or draw, and all in one schedule.
MIXED = """
model: {context: [1, 1], lstm: {cells: 16, dropout: 0.1}}
compress:
  lstm0:
    weight_bits: 2
    quantizer: ternary
    act_bits: 8
    act_quantizer: pact
    mask: {method: row, keep: 1/2, after_epoch: 1, lasso: 1e-3}
    recurrent: {weight_bits: 1, quantizer: binary, quantizer_options: {stochastic: true},
                mask: {method: dynamic, block: [4, 2], keep: 1/2, grow: random, start_epoch: 0, end_epoch: 2, every: 3}}
  lstm1:
    weight_bits: 4
    quantizer: lsq
    act_bits: 8
    act_quantizer: lsq
    cell_bits: 8
    mask: {method: coo, block: 4, nonzeros: 4, after_epoch: 1}
    recurrent: {mask: {method: block, block: [4, 2], keep: 1/4, start_epoch: 0, end_epoch: 2, lasso: 1e-3}}
  head_cd:
    weight_bits: 4
    quantizer: apot
    act_bits: 8
    act_options: {range: mse, batches: 30}
    mask: {method: pattern, dictionary: search, block: 2, nonzeros: 2, count: 3, after_epoch: 1}
  head_mono:
    weight_bits: 4
    quantizer: balanced
    act_bits: 8
    act_quantizer: dynamic
    mask: {method: pattern_coo, dictionary: random, block: 2, nonzeros: 2, count: 2, after_epoch: 1, every: 5}
train: {epochs: 3, batch: 4, threads: 1, device: cpu, sequence_length: {start: 20}, average: 0.9, momentum: 0.5}
"""


@pytest.fixture(scope="module")
def whole(made_task, tmp_path_factory):
    """Runs that nothing disturbs, made once."""
    place = tmp_path_factory.mktemp("masks")
    for name, text in (("masks", CONFIG), ("mixed", MIXED)):
        run_once(write_cfg(place, text, f"{name}.cfg"), made_task, place / name)
    return place


@pytest.mark.parametrize("name, every", [("masks", 2), ("masks", 5), ("mixed", 3)])
def test_stopped_after_every_few_steps_ends_with_the_same_bytes(monkeypatch, whole, made_task, tmp_path, name, every):
    step, done = module.step, 0

    def stopping(*arguments):
        nonlocal done
        step(*arguments)
        done += 1
        if done % every:
            module.save(arguments[0])
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "step", stopping)
    for _ in range(100):
        try:
            run(monkeypatch, whole / f"{name}.cfg", made_task, tmp_path / "broken")
            break
        except KeyboardInterrupt:
            pass
    assert done > 10
    assert (tmp_path / "broken" / "final.pt").read_bytes() == (whole / name / "final.pt").read_bytes()


PRUNED = """
model: {context: [1, 1], lstm: {cells: 16, dropout: 0.1, dropout_over: sequence}}
compress:
  "lstm*": {hcgs: {blocks: [8, 2], keep: [1/2, 1/2]}, prune: {keep: 1/2, after_epoch: 1, every: 3}}
train: {epochs: 3, batch: 4, threads: 1, device: cpu, sequence_length: {start: 20}, average: 0.9}
"""


def test_pruned_inside_a_structure_and_stopped_it_ends_with_the_same_bytes(monkeypatch, made_task, tmp_path):
    path = write_cfg(tmp_path, PRUNED)
    run(monkeypatch, path, made_task, tmp_path / "whole")
    step, taken = module.step, []

    def stopping(current, batch):
        step(current, batch)
        taken.append(current.progress.step)
        module.save(current)
        if len(taken) % 7 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "step", stopping)
    for _ in range(12):
        with suppress(KeyboardInterrupt):
            run(monkeypatch, path, made_task, tmp_path / "broken")
    assert (tmp_path / "broken" / "final.pt").read_bytes() == (tmp_path / "whole" / "final.pt").read_bytes()
    matrix = load_model(tmp_path / "whole").lstm["lstm0"].recurrent_matrix
    assert matrix.density == 1 / 8 and not (matrix.mask & ~matrix.within).any()


def test_the_model_that_is_kept_has_its_masks(whole):
    model = load_model(whole / "masks")
    matrices = {name: m for name, m in model.named_modules() if isinstance(m, PressedWeight)}
    assert len(matrices) == 6
    for matrix in matrices.values():
        assert 0 < matrix.density <= matrix.asked_density * 1.2
        assert not matrix()[~matrix.full_mask()].any()
    sizes = yaml.safe_load((whole / "masks" / "size.yaml").read_text())["matrices"]
    assert {s["name"]: s["kept"] for s in sizes} == {n: int(m.full_mask().sum()) for n, m in matrices.items()}
    assert all(s["index_bits"] > 0 and s["index_code"] for s in sizes)
    assert yaml.safe_load((whole / "masks" / "train.yaml").read_text())["chosen_epoch"] == 3


def test_only_an_epoch_at_the_density_asked_for_can_be_best(monkeypatch, whole, made_task, tmp_path):
    errors = iter([0.1, 0.2, 0.9])
    monkeypatch.setattr(module, "evaluate", lambda *_: (1.0, next(errors), 0.1))
    run(monkeypatch, whole / "masks.cfg", made_task, tmp_path / "x")
    assert yaml.safe_load((tmp_path / "x" / "train.yaml").read_text())["chosen_epoch"] == 3
    assert load_model(tmp_path / "x").head_cd.matrix.density == 0.25
    epochs = [json.loads(line) for line in (tmp_path / "x" / "metrics.jsonl").read_text().splitlines()]
    assert len({e["lr_lstm"] for e in epochs}) == 1
    densities = [e["density"] for e in epochs]
    assert 1 > densities[0] > densities[1] > densities[2] < 0.4
    assert f"density {100 * densities[2]:.2f} %" in (tmp_path / "x" / "train.log").read_text()


@pytest.mark.parametrize("compiled", [True, False])
def test_probing_gives_every_weight_its_gradient(monkeypatch, compiled):
    if compiled and library() is None:
        pytest.skip("the compiled kernels were not built")
    if not compiled:
        monkeypatch.setattr(native_lstm, "serves", lambda parts, x: False)
    said = {"method": "dynamic", "block": 4, "keep": "1/4", "drop": 0.5, "start_epoch": 0, "end_epoch": 1}
    layer = QuantLSTMLayer(12, 8, LayerPress(mask=said), generator=torch.Generator().manual_seed(0))
    x, matrix = torch.randn(8, 5, 12), layer.recurrent_matrix
    plain = layer(x)
    for matrix in (layer.input_matrix, layer.recurrent_matrix):
        matrix.probing = True
    y = layer(x)
    torch.testing.assert_close(y, plain)
    y.square().sum().backward()
    for matrix in (layer.input_matrix, layer.recurrent_matrix):
        assert matrix.weight.grad[~matrix.full_mask()].any()
        matrix.probing = False
    torch.testing.assert_close(layer(x), plain)


@pytest.mark.parametrize(
    "override, words",
    [
        ("compress.lstm1.mask.keep=0", "lstm1.mask.keep: 0 is out of range"),
        ("compress.lstm1.mask.method=magic", "lstm1.mask.method: unknown 'magic'"),
        (
            "compress.lstm1.mask.after_epoch=3",
            "compress.lstm1.mask.after_epoch: 3 of 3 epochs",
        ),
        ("compress.lstm1.hcgs.blocks=[8, 2]", "compress.lstm1.mask: hcgs makes one already"),
        ("compress.lstm0.recurrent.mask.block=32", "recurrent.mask.block: 32 x 32 is larger than .* 16 x 16"),
        ("compress.lstm5.mask.keep=0.5", "compress.lstm5: matches no layer"),
        ("compress.head_mono.mask.block=64", "head_mono.mask.block: 64 x 64 is larger than the matrix of 4 x 16"),
        ("compress.head_mono.mask.nonzeros=5", "head_mono.mask.nonzeros: 5 do not fit a pattern of 2 x 2; use 1 to 4"),
        ("compress.lstm1.mask={method: pattern, keep: null, every: null, dictionary: no.npy}", "no.npy: no such file"),
    ],
)
def test_what_is_wrong_is_one_clear_line_and_starts_nothing(monkeypatch, whole, made_task, tmp_path, override, words):
    with pytest.raises(UserError, match=words) as error:
        run(monkeypatch, whole / "masks.cfg", made_task, tmp_path / "x", "--set", override)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "x").exists()


CELLS = """
model: {context: [1, 1], lstm: {cells: 16}}
compress:
  "lstm*": {weight_bits: 8, act_bits: 16, mask: {method: cell, keep: 1/4, start_epoch: 1, end_epoch: 2, every: 3}}
train: {epochs: 3, batch: 4, threads: 1, device: cpu, average: 0.9}
"""


def test_cells_go_from_every_matrix_that_makes_or_reads_them(monkeypatch, made_task, tmp_path):
    run(monkeypatch, write_cfg(tmp_path, CELLS), made_task, tmp_path / "x")
    model = load_model(tmp_path / "x")
    kept = []
    for layer in model.lstm.values():
        rows = layer.recurrent_matrix.mask.any(1)
        assert int(rows.sum()) == 4 and torch.equal(rows, layer.input_matrix.mask.any(1))
        assert torch.equal(layer.recurrent_matrix.mask, rows[:, None] & rows)
        kept.append(rows)
    first, second = model.lstm.values()
    assert first.input_matrix.mask.sum() == 4 * first.inputs
    assert torch.equal(second.input_matrix.mask, kept[1][:, None] & kept[0])
    for head in (model.head_cd, model.head_mono):
        assert torch.equal(head.matrix.mask, kept[1].repeat(head.outputs, 1))
    sizes = yaml.safe_load((tmp_path / "x" / "size.yaml").read_text())["matrices"]
    assert [s["density"] for s in sizes] == [s["asked_density"] for s in sizes] == [1 / 4, *[1 / 16] * 3, 1 / 4, 1 / 4]
    assert {s["index_code"] for s in sizes} == {"lines"}
    assert [s["index_bits"] for s in sizes[:3]] == [16 + 120, 16 + 16, 16 + 16]
    # What a removed cell would have said changes nothing.
    feats = torch.randn(9, 40)
    before = model.log_posteriors(feats)
    with torch.no_grad():
        second.norm.bias.view(4, 16)[:, ~kept[1]] += 1.0
    assert torch.equal(model.log_posteriors(feats), before)


@pytest.mark.parametrize(
    "override, words",
    [
        ("compress.head_cd.mask={method: cell, keep: 0.5, after_epoch: 1}", "head_cd.mask: cell: only an LSTM layer"),
        ("compress.head_cd.hcgs={blocks: [4], keep: [0.5]}", "[.]mask: cell: two masks for one matrix.* .layer lstm1"),
        ("compress.lstm*.recurrent.mask.keep=0.5", "recurrent.mask: method is missing"),
        (
            "compress.lstm*.recurrent.mask={method: cell, keep: 0.5, after_epoch: 1}",
            "[.]mask: cell: removes rows of both matrices",
        ),
        ("compress.lstm*.mask.share_gates=false", "mask.share_gates: a cell has all its gates or none"),
    ],
)
def test_cells_that_cannot_go(monkeypatch, made_task, tmp_path, override, words):
    path = write_cfg(tmp_path, CELLS)
    with pytest.raises(UserError, match=words) as error:
        run(monkeypatch, path, made_task, tmp_path / "x", "--set", override)
    assert "\n" not in str(error.value) and not (tmp_path / "x").exists()
