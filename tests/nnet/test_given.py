"""Runs that start from a trained model: what they take over, what they choose, and no training at all."""

import json
import shutil

import pytest
import torch
import yaml
from train_command import run, run_once

from frenchpress.common import UserError
from frenchpress.compress import ActQuantizer, make_act_quantizer
from frenchpress.compress.sparsity.base import keep_largest
from frenchpress.nnet.model import load_model
from frenchpress.nnet.train import loop as module

DENSE = """
model: {context: [1, 1], lstm: {cells: 16}}
compress: {default: {weight_bits: 8, act_bits: 12}}
train: {epochs: 2, batch: 4, threads: 1, device: cpu, sequence_length: {start: 20}, average: 0.9}
"""
PRUNED = """
base: dense.cfg
compress: {default: {mask: {method: magnitude, keep: 1/4, after_epoch: 0}}}
train: {epochs: 0, init: dense}
"""


@pytest.fixture(scope="module")
def made(made_task, tmp_path_factory):
    """A dense model, and it pruned without training."""
    place = tmp_path_factory.mktemp("given")
    (place / "dense.cfg").write_text(DENSE)
    (place / "pruned.cfg").write_text(PRUNED)
    run_once(place / "dense.cfg", made_task, place / "dense")
    run_once(place / "pruned.cfg", made_task, place / "pruned")
    return place


@pytest.fixture
def copy(made, tmp_path):
    """The same, to be changed."""
    return shutil.copytree(made, tmp_path / "copy")


def test_pruned_without_training_is_the_dense_model_and_its_largest_weights(made):
    dense, pruned = load_model(made / "dense"), load_model(made / "pruned")
    theirs = dict(dense.named_modules())
    for name, value in pruned.state_dict().items():
        if not name.endswith("mask"):
            assert torch.equal(value, dense.state_dict()[name]), name
    for name, matrix in pruned.named_modules():
        if hasattr(matrix, "full_mask"):
            weight = theirs[name].weight
            gates = weight.view(matrix.gates, -1)
            assert torch.equal(
                matrix.full_mask().view(matrix.gates, -1), keep_largest(gates.abs(), gates.shape[1] // 4)
            )
    # Calibrated on the way to the dense model, and here by nothing else.
    assert pruned.lstm["lstm0"].act_in.limit == dense.lstm["lstm0"].act_in.limit > 0
    summary = yaml.safe_load((made / "pruned/train.yaml").read_text())
    assert summary["epochs"] == 0 and summary["chosen_epoch"] == 0 and 0 < summary["dev_frame_error_cd"] <= 1
    assert (made / "pruned/metrics.jsonl").read_text() == ""
    assert yaml.safe_load((made / "pruned/size.yaml").read_text())["weight_ratio"] == pytest.approx(4)


def test_training_goes_on_from_it_and_removed_weights_start_at_zero(monkeypatch, copy, made_task):
    out = copy / "again"
    run(monkeypatch, copy / "dense.cfg", made_task, out, "--set", "train.init=pruned", "--set", "train.lr.lstm=1e-9")
    again, pruned = (load_model(copy / name).lstm["lstm0"].recurrent_matrix for name in ("again", "pruned"))
    torch.testing.assert_close(again.weight, pruned.weight * pruned.mask, atol=1e-5, rtol=0)
    retrained = ["--set", "train.epochs=3", "--set", "train.init=dense"]
    run(monkeypatch, copy / "pruned.cfg", made_task, copy / "retrained", *retrained)
    first, kept = load_model(copy / "retrained").lstm["lstm0"].recurrent_matrix, pruned.mask
    assert torch.equal(first.mask, kept) and not torch.equal(first.weight[kept], pruned.weight[kept])
    errors = [json.loads(line)["dev_frame_error_cd"] for line in (copy / "retrained/metrics.jsonl").open()]
    assert min(errors) < yaml.safe_load((copy / "pruned/train.yaml").read_text())["dev_frame_error_cd"]


def test_interrupted_it_does_not_start_from_it_again(monkeypatch, copy, made_task):
    more = ["--set", "train.epochs=2"]
    run(monkeypatch, copy / "pruned.cfg", made_task, copy / "whole", *more)
    step = module.step

    def stopping(current, batch):
        step(current, batch)
        if current.progress.step == 3:
            module.save(current)
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "step", stopping)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(monkeypatch, copy / "pruned.cfg", made_task, copy / "broken", *more)
    run(monkeypatch, copy / "pruned.cfg", made_task, copy / "broken", *more)
    assert (copy / "broken/final.pt").read_bytes() == (copy / "whole/final.pt").read_bytes()


def test_a_model_that_was_trained_again_is_noticed(monkeypatch, copy, made_task):
    run(monkeypatch, copy / "dense.cfg", made_task, copy / "dense", "--restart", "--seed", "3")
    with pytest.raises(UserError, match="begun with another model as train.init, or that was trained again since"):
        run(monkeypatch, copy / "pruned.cfg", made_task, copy / "pruned")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["train.init=none"], r"train.init: .*/none: no trained model"),
        (["model.lstm.cells=8"], r"train.init: .*/dense: lstm.lstm0.input_matrix.weight: \[64, 120\], .*\[32, 120\]"),
        (["model.lstm.batch_norm=false"], r"lstm.lstm0.bias: none, and this model has \[64\]; layers must agree"),
        (["model.lstm.layers=1"], r"lstm.lstm1.input_matrix.weight: \[64, 16\], and this model has none"),
        (["compress.default.mask.after_epoch=1"], "mask.after_epoch: 1 of 0 epochs"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line_and_starts_nothing(monkeypatch, copy, made_task, more, said):
    with pytest.raises(UserError, match=said) as error:
        run(monkeypatch, copy / "pruned.cfg", made_task, copy / "new", *(x for m in more for x in ("--set", m)))
    assert "\n" not in str(error.value) and not (copy / "new").exists()


@pytest.mark.parametrize(
    "said",
    ["{}", "{act_options: {range: mse, batches: 3}}", "{act_quantizer: lsq}", "{act_quantizer: pact}"],
)
def test_ranges_are_found_without_training_and_nothing_else_moves(monkeypatch, copy, made_task, said):
    more = ["compress.default.act_bits=10", f"compress.lstm*={{recurrent: {said}}}"]
    more += ["compress.lstm*.act_bits=10", "compress.lstm*.weight_bits=8"]
    run(monkeypatch, copy / "pruned.cfg", made_task, copy / "new", *(x for m in more for x in ("--set", m)))
    new, dense = load_model(copy / "new"), load_model(copy / "dense")
    quantizers = [m for m in new.modules() if isinstance(m, ActQuantizer) and not m.is_float]
    assert len(quantizers) == 6 and all(q.grid(torch.float32) is not None for q in quantizers)
    assert 0 < new.lstm["lstm0"].act_in.grid(torch.float32)[0] < 100
    for name, value in new.state_dict().items():
        if "act" not in name and not name.endswith("mask"):
            assert torch.equal(value, dense.state_dict()[name]), name


def test_a_range_goes_over_where_both_find_it_in_the_same_way():
    def limit(ours, theirs):
        made = [make_act_quantizer("fixed", 8, known, **options) for known, options in (ours, theirs)]
        for quantizer, size in zip(made, (1.0, 0.5)):
            quantizer.train()(torch.tensor([size, -0.25]))
        made[0].take_over(made[1])
        return float(made[0].limit)

    percentile = {"range": "percentile", "percentile": 50.0}
    assert limit((None, {}), (None, {})) == 0.5
    assert limit((None, percentile), (None, percentile)) < 0.5
    # Another way to find it, another number of calls, a bound that is known: nothing to take over.
    for other in (percentile, {"range": "mse"}, {"batches": 3}):
        assert limit((None, {}), (None, other)) == 1.0
        assert limit((None, other), (None, {})) > 0.5 or other is percentile
    assert limit((1.25, {}), (1.0, {})) == 1.25
    assert limit((1.0, {}), (None, {"range": "minmax"})) == 1.0
    bits = make_act_quantizer("fixed", 6).train()
    bits(torch.ones(2))
    eight = make_act_quantizer("fixed", 8)
    eight.take_over(bits)
    assert not eight.seen


def test_the_model_after_each_epoch_is_kept_also_when_interrupted(monkeypatch, copy, made_task):
    more = ["--set", "train.epochs=3", "--set", "train.keep_epochs=true", "--set", "train.init=null"]
    mask = ["--set", "compress.default.mask.after_epoch=1"]
    run(monkeypatch, copy / "pruned.cfg", made_task, copy / "whole", *more, *mask)
    kept = {place.name: (place / "final.pt").read_bytes() for place in (copy / "whole/epochs").iterdir()}
    # After the first the mask is not chosen yet.
    assert sorted(kept) == ["2", "3"]
    best = yaml.safe_load((copy / "whole/train.yaml").read_text())["chosen_epoch"]
    final = load_model(copy / "whole").state_dict()
    chosen = load_model(copy / f"whole/epochs/{best}").state_dict()
    assert all(torch.equal(final[key], value) for key, value in chosen.items())
    assert kept["2"] != kept["3"]

    evaluate = module.evaluate
    monkeypatch.setattr(module, "evaluate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, copy / "pruned.cfg", made_task, copy / "broken", *more, *mask)
    monkeypatch.setattr(module, "evaluate", evaluate)
    run(monkeypatch, copy / "pruned.cfg", made_task, copy / "broken", *more, *mask)
    assert {name: (copy / f"broken/epochs/{name}/final.pt").read_bytes() for name in kept} == kept
    run(monkeypatch, copy / "pruned.cfg", made_task, copy / "whole", "--restart")
    assert not (copy / "whole/epochs").exists()
