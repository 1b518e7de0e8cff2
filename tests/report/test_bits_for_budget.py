"""Bits for a number of bytes: allocation against all others, traces against a Hessian, the .cfg that comes out."""

import argparse
import itertools

import pytest
import torch
from made_cfg import write_cfg
from small_task import make_task
from torch.nn.functional import cross_entropy

from frenchpress.arguments import parse_bytes
from frenchpress.common import UserError
from frenchpress.compress import make_quantizer, size_report
from frenchpress.config import load_config
from frenchpress.nnet.data import Frames
from frenchpress.nnet.losses import evaluate
from frenchpress.nnet.model import AcousticModel, Sizes
from frenchpress.nnet.task import Task
from frenchpress.report import bits_for_budget as module
from frenchpress.report.bits_for_budget import Choice

SMALL = """
model: {context: [0, 0], lstm: {cells: 8, layers: 1}}
compress:
  "lstm*": {act_bits: 8, mask: {method: magnitude, keep: 1/2, after_epoch: 0}}
train: {epochs: 1, device: cpu, threads: 1}
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return Task.load(make_task(tmp_path_factory.mktemp("task") / "task", 8))


@pytest.fixture
def model(tmp_path, task):
    torch.manual_seed(0)
    config = load_config(write_cfg(tmp_path, SMALL))
    return AcousticModel(config, Sizes(task.feat_dim, task.num_pdfs, task.num_phones)).eval()


@pytest.mark.parametrize("budget", [30, 41, 64, 200])
def test_allocation_is_the_best_of_all_or_next_to_it(budget):
    generator = torch.Generator().manual_seed(budget)
    places = []
    for _ in range(4):
        weights, harm = int(torch.randint(1, 6, (), generator=generator)), float(torch.rand((), generator=generator))
        places.append({bits: Choice(harm * 4.0**-bits, bits * weights) for bits in (2, 3, 4, 6)})
    chosen = module.allocate(places, budget)

    def total(bits, what):
        return sum(getattr(place[b], what) for place, b in zip(places, bits))

    every = [bits for bits in itertools.product((2, 3, 4, 6), repeat=4) if total(bits, "size") <= budget]
    best = min(total(bits, "harm") for bits in every)
    assert total(chosen, "size") <= budget and total(chosen, "harm") <= 1.6 * best


def test_least_bits_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="needs at least 8 bits more"):
        module.allocate([{2: Choice(1.0, 20), 4: Choice(0.0, 40)}], 12)


def test_trace_is_that_of_the_hessian(model, task):
    frames = Frames(task.split("dev"))
    found = module.traces(model, frames, 200)
    head = model.head_mono.matrix
    batch = frames.batch(frames.pieces(int(frames.lengths.max())), model.offsets)

    def loss(weight):
        return cross_entropy(hidden @ weight.t() + model.head_mono.bias.detach(), batch.mono)

    with torch.no_grad():
        hidden = model.hidden(batch.inputs, batch.lengths)
    hessian = torch.autograd.functional.hessian(loss, head.weight.detach())
    exact = float(hessian.reshape(head.weight.numel(), -1).diagonal().sum())
    assert found[head] == pytest.approx(exact, rel=0.2)
    assert all(w.weight.grad is None for w in found)


def test_a_place_alone_is_rounded_and_comes_back(model, task):
    frames = Frames(task.split("dev"))
    before = evaluate(model, frames)[0]
    choices = module.choices_of(model, frames, "loss", module.sizes_of(model, [2, 8], "uniform"), "uniform")
    assert [place.name for place in module.places(model)] == ["lstm0.input", "lstm0.recurrent", "head_cd", "head_mono"]
    assert evaluate(model, frames)[0] == before
    model.head_cd.matrix.quantizer = make_quantizer("uniform", 2)
    assert evaluate(model, frames)[0] - before == pytest.approx(choices[2][2].harm)
    assert choices[2][2].size == 12 * 8 * 2 + 12 * 16


@pytest.mark.parametrize("by", ["loss", "hessian", "sqnr"])
def test_a_cfg_comes_out_that_has_the_bytes(model, task, by, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "load_model", lambda directory: model)
    monkeypatch.setattr(module.Task, "of", lambda directory, given: task)
    out, whole = tmp_path / "bits.cfg", size_report(model, model.constants)
    budget = whole["other_bytes"] + whole["matrix_bytes"] // 6
    said = ["--bytes", f"{budget}", "--by", by, "--out", str(out), str(tmp_path / "float")]
    monkeypatch.setattr("sys.argv", ["bits-for-budget", *said])
    module.main()
    config = load_config(out)
    assert config.train.init == "float" and config.compress["lstm0"].act_bits == 8
    size = size_report(AcousticModel(config, model.sizes), model.constants)["stored_bytes"]
    said = capsys.readouterr().out
    assert f"{out}: " in said and "./run.sh --stage 4 --exp " in said and f" --conf {out}" in said
    assert size <= budget * 1.01
    assert config.compress["lstm0"].of_matrix("recurrent").weight_bits in (2, 3, 4, 5, 6, 8)
    monkeypatch.setattr("sys.argv", ["bits-for-budget", "--bytes", "100", str(tmp_path / "float")])
    monkeypatch.setattr(module, "choices_of", lambda *given: pytest.fail("looked for harm before the bytes"))
    with pytest.raises(UserError, match="--bytes: 100 is below [0-9]+, which the model takes with the fewest bits"):
        module.main()


def test_a_path_after_numbers_is_said_to_be_none(monkeypatch):
    monkeypatch.setattr("sys.argv", ["bits-for-budget", "--bytes", "1MB", "--bits", "2", "4", "exp/x"])
    with pytest.raises(UserError, match="--bits: 'exp/x' is no number; a path stands before it"):
        module.main()


def test_numbers_of_bytes():
    assert [parse_bytes(text) for text in ("400kB", "0.4MB", "10", "1 KiB")] == [400000, 400000, 10, 1024]
    for text in ("-3", "x", "3 stones", "0"):
        with pytest.raises(argparse.ArgumentTypeError, match="no number of bytes, such as 400kB"):
            parse_bytes(text)
