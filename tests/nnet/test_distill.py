"""Distillation: its loss and gradient against plain ones, and runs that learn from a teacher and are interrupted."""

import shutil

import numpy as np
import pytest
import torch
from stopped import run_stopped
from train_command import run, run_once

from frenchpress.common import UserError, mark_done
from frenchpress.config import load_config
from frenchpress.nnet import distill
from frenchpress.nnet.data import Batch, Frames
from frenchpress.nnet.distill import Teacher, ask, soft_loss
from frenchpress.nnet.given import make_teacher
from frenchpress.nnet.losses import losses
from frenchpress.nnet.model import AcousticModel, Sizes, load_model
from frenchpress.nnet.train import command as command
from frenchpress.report.lineage import lineage

TEACHER = """
model: {context: [1, 1], lstm: {cells: 12, dropout: 0.3}}
train: {epochs: 2, batch: 4, threads: 1, device: cpu, sequence_length: {start: 20}, average: 0.9}
"""
STUDENT = """
base: teacher.cfg
model: {lstm: {cells: 8, dropout: 0.1}}
compress: {default: {weight_bits: 4, act_bits: 8}}
train: {distill: {teacher: "teacher-seed{seed}", weight: 0.7, temperature: 3}}
"""


@pytest.fixture(scope="module")
def taught(made_task, tmp_path_factory):
    """A teacher and a student that nothing disturbs, made once."""
    place = tmp_path_factory.mktemp("distill")
    (place / "teacher.cfg").write_text(TEACHER)
    (place / "student.cfg").write_text(STUDENT)
    run_once(place / "teacher.cfg", made_task, place / "teacher-seed2234")
    run_once(place / "student.cfg", made_task, place / "student")
    return place


@pytest.fixture
def copy(taught, tmp_path):
    """The same, to be changed."""
    return shutil.copytree(taught, tmp_path / "copy")


def plain_loss(z, v, temperature):
    """T^2 sum q log(q / p) per frame, one frame after the other, in numpy float64."""
    total = 0.0
    for student, teacher in zip(z, v):
        p, q = (np.exp(x / temperature) / np.exp(x / temperature).sum() for x in (student, teacher))
        total += temperature**2 * (q * (np.log(q) - np.log(p))).sum()
    return total / len(z)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_soft_loss_and_its_gradient_by_hand(temperature):
    random = np.random.default_rng(0)
    z, v = random.normal(size=(5, 7)) * 2, random.normal(size=(5, 7)) * 3
    student = torch.tensor(z, requires_grad=True)
    loss = soft_loss(student, torch.tensor(v), temperature)
    loss.backward()
    assert loss.item() == pytest.approx(plain_loss(z, v, temperature))
    p, q = (np.exp(x / temperature) / np.exp(x / temperature).sum(1, keepdims=True) for x in (z, v))
    # Hinton et al. 2015, eq. 2, times T^2, per frame.
    np.testing.assert_allclose(student.grad.numpy(), temperature * (p - q) / 5, atol=1e-12)
    assert soft_loss(student, student.detach(), temperature).item() == pytest.approx(0, abs=1e-12)


def test_it_is_mixed_with_the_hard_targets(tmp_path):
    (tmp_path / "teacher.cfg").write_text(TEACHER)
    student = AcousticModel(load_config(tmp_path / "teacher.cfg"), Sizes(40, 12, 4))
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 9, 120, generator=generator)
    lengths, cd, mono = torch.tensor([9, 6]), torch.arange(15) % 12, torch.arange(15) % 4
    rows = torch.arange(15) * 2 + 1
    batch = Batch(inputs, lengths, cd, mono, rows, ["a", "b"], lengths.numpy(), slice(None))
    random = np.random.default_rng(0)
    said = {head: random.normal(size=(40, classes)).astype(np.float16) for head, classes in (("cd", 12), ("mono", 4))}
    student.eval()
    logits = student(inputs, lengths)
    total, loss_cd, loss_mono = losses(logits, batch, 0.1, Teacher([said], 0.7, 2.0))
    soft = sum(plain_loss(logits[h].detach().numpy(), said[h][1:31:2].astype(float), 2.0) for h in ("cd", "mono"))
    hard = torch.nn.functional.cross_entropy(logits["cd"], cd) + torch.nn.functional.cross_entropy(logits["mono"], mono)
    wanted = 0.3 * hard.item() + 0.7 * soft + 0.1 * logits["cd"].square().mean().item()
    assert total.item() == pytest.approx(wanted, rel=1e-5)
    assert (loss_cd + loss_mono).item() == pytest.approx(hard.item())


def test_the_teacher_says_of_each_frame_what_its_model_does_and_is_asked_once(taught, made_task, tmp_path, monkeypatch):
    model = load_model(taught / "teacher-seed2234").train()
    frames = command.read_frames(command.Task.load(made_task), "train", torch.device("cpu"))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    said = ask(model, frames, tmp_path / "posteriors", {"model": "a"})
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    for utt, (first, length) in enumerate(zip(frames.starts, frames.lengths)):
        batch = frames.batch(np.array([[utt, 0, length]]), model.offsets)
        for head, logits in model(batch.inputs, batch.lengths).items():
            wanted = torch.log_softmax(logits, dim=-1).detach().numpy()
            np.testing.assert_allclose(said[head][first : first + length], wanted, rtol=2e-3, atol=2e-3)

    def not_again(*_):
        raise AssertionError("asked again")

    monkeypatch.setattr(distill, "_ask", not_again)
    again = ask(model, frames, tmp_path / "posteriors", {"model": "a"})
    assert sorted(again) == ["cd", "mono"] and all(np.array_equal(said[head], again[head]) for head in again)
    with pytest.raises(AssertionError, match="asked again"):
        ask(model, frames, tmp_path / "posteriors", {"model": "trained again"})


def test_asking_that_is_interrupted_is_done_anew(taught, made_task, tmp_path, monkeypatch):
    model = load_model(taught / "teacher-seed2234")
    frames = command.read_frames(command.Task.load(made_task), "train", torch.device("cpu"))
    whole = ask(model, frames, tmp_path / "whole", {})

    def stop_in_the_middle(batch):
        yield from Frames.in_order(frames, batch)[:1]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(distill, "_TOGETHER", 2)
        patch.setattr(frames, "in_order", stop_in_the_middle)
        ask(model, frames, tmp_path / "posteriors", {})
    assert not (tmp_path / "posteriors/train").exists()
    said = ask(model, frames, tmp_path / "posteriors", {})
    assert all(np.array_equal(said[head], whole[head]) for head in whole)


def test_what_a_teacher_says_decides_what_is_learnt(taught, made_task, monkeypatch, tmp_path):
    for name in ("teacher.cfg", "student.cfg"):
        shutil.copy(taught / name, tmp_path / name)
    run(monkeypatch, tmp_path / "student.cfg", made_task, tmp_path / "alone", "--set", "train.distill=null")
    alone, student = load_model(tmp_path / "alone"), load_model(taught / "student")
    assert not torch.equal(alone.head_cd.matrix.weight, student.head_cd.matrix.weight)


@pytest.mark.parametrize("every", [1, 5])
def test_interrupted_it_ends_with_the_same_bytes(monkeypatch, copy, made_task, every):
    whole = (copy / "student/final.pt").read_bytes()
    shutil.rmtree(copy / "student")
    run_stopped(monkeypatch, copy / "student.cfg", made_task, copy / "student", every)
    assert (copy / "student/final.pt").read_bytes() == whole


def test_a_teacher_that_was_trained_again_is_noticed(monkeypatch, copy, made_task, capsys):
    run(monkeypatch, copy / "student.cfg", made_task, copy / "student")
    assert "is up to date" in capsys.readouterr().out
    run(monkeypatch, copy / "teacher.cfg", made_task, copy / "teacher-seed2234", "--restart", "--set", "train.epochs=1")
    with pytest.raises(UserError, match=r"begun with another model as train.distill.teacher, or .* --restart"):
        run(monkeypatch, copy / "student.cfg", made_task, copy / "student")
    capsys.readouterr()
    run(monkeypatch, copy / "student.cfg", made_task, copy / "student", "--restart")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"{copy}/teacher-seed2234/posteriors: 0.1 MB, kept for other runs") and "clean" in last
    assert not (copy / "student/checkpoint.pt").exists()


def test_teachers_that_cannot_teach_are_one_line_and_start_nothing(monkeypatch, copy, made_task):
    other = shutil.copytree(made_task, copy / "task")
    mark_done(other, {"made": "anew"})
    shutil.copytree(copy / "teacher-seed2234", copy / "damaged")
    (copy / "damaged/final.pt").write_bytes(b"no model")
    for more, task, said in (
        (["--seed", "7"], made_task, r"train.distill.teacher: .*/teacher-seed7: no trained model \(final.pt\)"),
        (["--set", "train.distill.teacher=damaged"], made_task, "damaged/final.pt: not a whole model file"),
        ([], other, "teacher-seed2234: was trained on another task, or the task was made again"),
    ):
        with pytest.raises(UserError, match=said) as error:
            run(monkeypatch, copy / "student.cfg", task, copy / "new", *more)
        assert "\n" not in str(error.value) and not (copy / "new").exists()


def test_a_teacher_may_see_other_frames(monkeypatch, copy, made_task):
    run(monkeypatch, copy / "student.cfg", made_task, copy / "new", "--set", "model={context: [2, 2], time_stride: 2}")
    assert load_model(copy / "new").offsets == range(-2, 3, 2)


def test_a_teacher_of_other_states_is_refused(monkeypatch, copy, made_task):
    task = command.Task.load(made_task)
    monkeypatch.setattr(command, "Sizes", lambda *_: Sizes(task.feat_dim, 13, 4))
    with pytest.raises(UserError, match="other features, tied states and phones: 40, 12, 4, and this model has 40, 13"):
        run(monkeypatch, copy / "student.cfg", made_task, copy / "new")


def test_several_teach_by_the_mean_of_their_posteriors(monkeypatch, copy, made_task):
    run(monkeypatch, copy / "teacher.cfg", made_task, copy / "teacher-seed7", "--set", "seed=7")
    task = command.Task.load(made_task)
    frames = command.read_frames(task, "train", torch.device("cpu"))
    models = {copy / f"teacher-seed{seed}": load_model(copy / f"teacher-seed{seed}") for seed in (2234, 7)}
    both = "train.distill.teacher=[teacher-seed2234, teacher-seed7]"
    config = load_config(copy / "student.cfg", [both])
    teacher = make_teacher(config, models, frames, "task")
    batch = frames.batch(np.array([[0, 0, 5]]), models[copy / "teacher-seed7"].offsets)
    for head, classes in (("cd", 12), ("mono", 4)):
        said = teacher.of(head, batch, torch.zeros(()))
        each = [np.exp(kept[head][batch.rows.numpy()].astype(np.float64)) for kept in teacher.said]
        assert said.shape == (5, classes) and np.abs(each[0] - each[1]).max() > 1e-3
        np.testing.assert_allclose(said.exp().numpy(), (each[0] + each[1]) / 2, rtol=1e-5)

    run(monkeypatch, copy / "student.cfg", made_task, copy / "taught-by-both", "--set", both)
    assert (copy / "taught-by-both/final.pt").read_bytes() != (copy / "student/final.pt").read_bytes()
    assert lineage(copy / "taught-by-both").learns_from == "teacher-seed2234, teacher-seed7"
    run(monkeypatch, copy / "teacher.cfg", made_task, copy / "teacher-seed7", "--restart", "--set", "train.epochs=1")
    with pytest.raises(UserError, match=r"as train.distill.teacher.1 or train.distill.teacher.2, or"):
        run(monkeypatch, copy / "student.cfg", made_task, copy / "taught-by-both", "--set", both)
