"""What a model loses with fewer weights in one matrix: which are removed, that they come back, and bad input."""

import shutil
from fractions import Fraction

import numpy as np
import pytest
import torch
from made_cfg import write_cfg
from mask_cases import hcgs_of
from small_task import make_task

from frenchpress.common import UserError
from frenchpress.compress import PressedWeight
from frenchpress.config import load_config
from frenchpress.config.press import LayerPress
from frenchpress.nnet.data import Frames
from frenchpress.nnet.losses import evaluate
from frenchpress.nnet.model import AcousticModel, Sizes
from frenchpress.nnet.task import Task
from frenchpress.report import experiment
from frenchpress.report import sensitivity as module

SMALL = """
model: {context: [0, 0], lstm: {cells: 16}}
compress:
  default: {weight_bits: 8}
  lstm1: {weight_bits: 8, hcgs: {blocks: [8, 2], keep: [1/2, 1/2]}}
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return Task.load(make_task(tmp_path_factory.mktemp("task") / "task"))


@pytest.fixture
def model(tmp_path, task):
    write_cfg(tmp_path, SMALL, "small.cfg")
    torch.manual_seed(0)
    return AcousticModel(load_config(tmp_path / "small.cfg"), Sizes(task.feat_dim, task.num_pdfs, task.num_phones))


@pytest.mark.parametrize("hcgs", [None, hcgs_of((8, 2), (0.5, 0.5))])
@pytest.mark.parametrize("number", [1, 200])
def test_the_largest_of_those_that_a_mask_keeps_stay_and_the_others_come_back(hcgs, number):
    generator = torch.Generator().manual_seed(0)
    matrix = PressedWeight((64, 48), LayerPress(hcgs=hcgs), 4, generator)
    torch.nn.init.normal_(matrix.weight, generator=generator)
    before = matrix().detach()
    bound = np.sort(abs(before.numpy()).flatten())[-number]
    with module.only_largest(matrix, number):
        np.testing.assert_array_equal(matrix().detach(), np.where(abs(before) >= bound, before, 0))
    assert torch.equal(matrix(), before)


@pytest.mark.parametrize("bits, quantizer", [(1, "binary"), (2, "balanced"), (2, "kmeans")])
def test_what_is_removed_is_zero_where_zero_is_no_level_too(bits, quantizer):
    matrix = PressedWeight((8, 8), LayerPress(bits, quantizer=quantizer))
    torch.nn.init.normal_(matrix.weight, generator=torch.Generator().manual_seed(0))
    with module.only_largest(matrix.eval(), 4):
        assert int((matrix() != 0).sum()) == 4
    assert bool((matrix() != 0).all())


def test_losses_are_those_of_the_thinned_model(model, task):
    frames = Frames(task.split("dev"))
    whole = evaluate(model, frames)[0]
    found = {s.matrix: s for s in module.sensitivities(model, frames, [Fraction(1, 2), Fraction(1, 16)])}
    assert list(found) == [n for n, m in model.named_modules() if isinstance(m, PressedWeight)]
    name = "lstm.lstm1.recurrent_matrix"
    assert found[name].kept == 64 * 16 // 4 and found[name].removed == [128, 240]
    matrix = model.get_submodule(name)
    weight = (matrix.weight * matrix.full_mask()).detach()
    with torch.no_grad():
        matrix.weight.copy_(weight * (weight.abs() >= weight.abs().flatten().sort(descending=True).values[15]))
    assert found[name].losses[1] == pytest.approx(evaluate(model, frames)[0] - whole, abs=1e-6)


def test_command_line(model, task, monkeypatch, capsys):
    monkeypatch.setattr(experiment, "load_model", lambda directory: model)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["sensitivity", "--task", str(task.path), *arguments, "exp/x"])
        module.main()
        return capsys.readouterr().out.splitlines()

    lines = run("--every", "2", "--keep", "1/4", "1/16", "--")
    assert lines[0].startswith(f"Rise of the loss on dev ({-(-len(task.split('dev')) // 2)} utterances")
    assert "1/4 kept" in lines[2] and "per 1000, 1/16" in lines[2] and len(lines) == 4 + 6
    for wrong in ("2", "0", "x", "1/0"):
        with pytest.raises(UserError, match=f"--keep: '{wrong}' is no share of weights between 0 and 1"):
            run("--keep", wrong, "--")
    with pytest.raises(UserError, match="--every: '0', expected a number from 1 up"):
        run("--every", "0", "--keep", "1/4", "--")


def test_another_task_is_refused(model, task, monkeypatch, tmp_path):
    shutil.copytree(task.path, tmp_path / "task")
    meta = tmp_path / "task/meta.yaml"
    meta.write_text(meta.read_text().replace("feat_dim: 40", "feat_dim: 13"))
    monkeypatch.setattr(experiment, "load_model", lambda directory: model)
    monkeypatch.setattr("sys.argv", ["sensitivity", "--task", str(tmp_path / "task"), "exp/x"])
    with pytest.raises(UserError, match="task: not the task of exp/x: other features"):
        module.main()
