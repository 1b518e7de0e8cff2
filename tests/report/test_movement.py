"""How much of the feature maps moves: counted by hand, and what is left of the operations."""

import sys

import pytest
import torch
from made_cfg import write_cfg
from small_task import make_task

from frenchpress.common import UserError, read_yaml
from frenchpress.config import load_config
from frenchpress.nnet.data import Frames
from frenchpress.nnet.losses import evaluate
from frenchpress.nnet.model import AcousticModel, Sizes
from frenchpress.nnet.task import Task
from frenchpress.report import experiment
from frenchpress.report import movement as module

SMALL = """
model: {context: [0, 0], lstm: {cells: 16}}
compress:
  default: {weight_bits: 8, act_bits: 9}
  lstm0: {weight_bits: 8, act_bits: 9, act_options: {range: minmax}, delta: {input: 0.5, output: 0.05}}
  lstm1: {weight_bits: 8, act_bits: 9, hcgs: {blocks: [8, 2], keep: [1/2, 1/2]}, delta: {output: 0.05}}
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return Task.load(make_task(tmp_path_factory.mktemp("task") / "task"))


@pytest.fixture
def model(tmp_path, task):
    write_cfg(tmp_path, SMALL, "small.cfg")
    model = AcousticModel(load_config(tmp_path / "small.cfg"), Sizes(task.feat_dim, task.num_pdfs, task.num_phones))
    batch = Frames(task.split("dev")).batch(Frames(task.split("dev")).pieces(1000)[:8], model.offsets)
    for _ in range(20):
        model.train()(batch.inputs, batch.lengths)
    return model.eval()


def test_what_moves_is_counted():
    seen = module.FeatureMap("x", [], banks=2)
    x = torch.tensor([[[1.0, 0.0, 0.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]])
    seen.see(x, torch.tensor([3]))
    # Column 0 moves in the first frame, 1 and 2 in the second; banks have the columns 0 and 2, and 1.
    assert seen.moved.tolist() == [1, 1, 1] and seen.frames == 3 and seen.share == pytest.approx(1 / 3)
    assert seen.busiest == 1 + 1 and seen.balance == pytest.approx(3 / (2 * 2))
    seen.see(x[:, :2], torch.tensor([1]))
    assert seen.frames == 4 and seen.moved.tolist() == [2, 1, 1]


def test_operations_are_those_of_columns_that_move(model, task):
    frames = Frames(task.split("dev"))
    maps = {m.name: m for m in module.measure(model, frames, banks=4)}
    assert list(maps) == ["lstm0 inputs", "lstm0 outputs", "lstm1 inputs", "lstm1 outputs", "outputs to the heads"]
    for rows in frames.pieces(1000)[:1]:
        batch = frames.batch(rows[None], model.offsets)
    outputs = []
    hook = model.lstm["lstm1"].register_forward_hook(lambda layer, given, out: outputs.append(out[0]))
    with torch.no_grad():
        model(batch.inputs, batch.lengths)
    hook.remove()
    alone = module.FeatureMap("alone", [model.lstm["lstm1"].recurrent_matrix], 4)
    alone.see(outputs[0][None], batch.lengths)
    mask = model.lstm["lstm1"].recurrent_matrix.full_mask()
    before, left = torch.zeros(16), 0
    for frame in outputs[0]:
        left += int(mask[:, frame != before].sum())
        before = frame
    dense, kept, mean = alone.operations
    assert (dense, kept) == (mask.numel(), int(mask.sum())) and mean == pytest.approx(left / len(outputs[0]))
    assert 0 < left < kept * len(outputs[0])
    assert maps["lstm0 inputs"].share < 1 and maps["lstm0 outputs"].moved is not maps["lstm1 inputs"].moved
    total = module.summary(list(maps.values()))
    inputs, *outputs = (maps[name] for name in ("lstm0 inputs", "lstm0 outputs", "lstm1 outputs"))
    moved = int(inputs.moved.sum() + sum(m.moved.sum() for m in outputs))
    assert total["sent"] == pytest.approx(moved / inputs.frames / (40 + 2 * 16))
    assert total["macs_left"] < total["macs_kept"] < total["macs_dense"] == sum(m.operations[0] for m in maps.values())


def test_the_command_prints_and_keeps_it(model, task, tmp_path, monkeypatch, capsys):
    place = tmp_path / "small"
    place.mkdir()
    monkeypatch.setattr(experiment, "load_model", lambda directory: model)
    monkeypatch.setattr(sys, "argv", ["movement", "--task", str(task.path), str(place)])
    module.main()
    said, kept = capsys.readouterr().out, read_yaml(place / "movement.yaml")
    assert "| lstm0 inputs" in said and f"of {kept['macs_dense']} multiply-accumulates a frame are left" in said
    assert f"\n{100 * kept['sent']:.1f} % of the model's inputs and its layers' outputs are sent on" in said
    assert kept["banks"] == 8 and len(kept["maps"]) == 5
    monkeypatch.setattr(sys, "argv", ["movement", "--task", str(task.path), "--banks", "0", str(place)])
    with pytest.raises(UserError, match="--banks: '0', expected a number from 1 up"):
        module.main()


def test_each_threshold_is_tried_alone(model, task):
    frames = Frames(task.split("dev"))
    found = {(t.threshold, t.value): t for t in module.trials(model, frames, [0.0, 2.0])}
    assert list(found) == [
        *(("lstm0: input", value) for value in (0.0, 0.5, 1.0)),
        *(("lstm0: output", value) for value in (0.0, 0.05, 0.1)),
        *(("lstm1: output", value) for value in (0.0, 0.05, 0.1)),
    ]
    as_it_is = [found["lstm0: input", 0.5], found["lstm0: output", 0.05], found["lstm1: output", 0.05]]
    assert len({(t.sent, t.operations, t.loss) for t in as_it_is}) == 1
    total = module.summary(module.measure(model, frames, banks=1))
    assert as_it_is[0].sent == pytest.approx(total["sent"])
    assert as_it_is[0].operations == pytest.approx(total["macs_left"])
    assert as_it_is[0].loss == pytest.approx(evaluate(model, frames)[0])
    model.lstm["lstm0"].delta = (1.0, 0.05)
    twice, other = found["lstm0: input", 1.0], module.summary(module.measure(model, frames, banks=1))
    assert (twice.sent, twice.operations) == pytest.approx((other["sent"], other["macs_left"]))
    assert twice.sent < as_it_is[0].sent < found["lstm0: input", 0.0].sent


def test_trials_are_printed_with_the_rest(model, task, tmp_path, monkeypatch, capsys):
    (tmp_path / "small").mkdir()
    call = ["movement", "--task", str(task.path), str(tmp_path / "small"), "--try", "1/2", "--every", "2"]
    monkeypatch.setattr(experiment, "load_model", lambda directory: model)
    monkeypatch.setattr(sys, "argv", call)
    module.main()
    said = capsys.readouterr().out
    table = said.partition("One threshold at a time, not trained anew (")[2]
    rows = [line.split("|")[1:3] for line in table.splitlines() if "lstm" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["lstm0: input", "0.25"], ["lstm0: input", "0.5"], ["lstm0: output", "0.025"], ["lstm0: output", "0.05"],
        ["lstm1: output", "0.025"], ["lstm1: output", "0.05"],
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", [*call[:-4], *call[-2:]])
    with pytest.raises(UserError, match="--every 2: only --try leaves utterances out"):
        module.main()
    monkeypatch.setattr(sys, "argv", call)
    for layer in model.lstm.values():
        layer.delta = None
    with pytest.raises(UserError, match="--try: the model has no threshold; give its layers delta"):
        module.main()


@pytest.mark.parametrize("factor", ["x", "-1", "1/0", "1e999999999", "nan"])
def test_a_factor_is_a_number(factor, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["movement", str(tmp_path), f"--try={factor}"])
    with pytest.raises(UserError, match=f"--try: {factor!r} is no factor, such as 1/2 or 1.5"):
        module.main()
