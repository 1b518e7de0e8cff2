"""Decoding with a model: priors, the choice of weights, what is written, and what is refused."""

import shutil
import sys

import numpy as np
import pytest
import torch
import yaml
from small_task import PHONES, STATES, add_graph

from frenchpress.common import UserError
from frenchpress.config import DecodeConfig, config_from_dict, config_to_yaml
from frenchpress.nnet import decode
from frenchpress.nnet.checkpoint import write_tensors
from frenchpress.nnet.decode import NEVER, RAREST, decode_experiment, log_likelihoods, log_priors
from frenchpress.nnet.model import AcousticModel, Sizes
from frenchpress.nnet.task import Task

OPTIONS = DecodeConfig(acoustic_scales=(0.1, 0.5), lm_weights=(1.0, 2.0, 10.0))


@pytest.fixture
def task(made_task, tmp_path):
    path = tmp_path / "task"
    shutil.copytree(made_task, path)
    for split in ("train", "dev", "test"):  # the archives were moved
        scp = path / split / "feats.scp"
        scp.write_text(scp.read_text().replace(str(made_task), str(path)))
    add_graph(path)
    return Task.load(path)


class Knows:
    """Log posteriors of a network that has learnt the class means of the train set."""

    def __init__(self, task, sharpness=1.0):
        self.sharpness = sharpness
        train = task.split("train")
        feats = np.concatenate([train.feats(u) for u in train.aligned])
        states = np.concatenate([train.pdfs[u] for u in train.aligned])
        self.means = torch.from_numpy(np.stack([feats[states == s].mean(0) for s in range(STATES)]))
        self.calls = 0

    def __call__(self, utterances):
        self.calls += 1
        return [(-0.5 * self.sharpness * torch.cdist(feats, self.means) ** 2).log_softmax(-1) for feats in utterances]


def test_priors_and_states_never_seen(task):
    counts = np.array([3, 0, 1] + [0] * (STATES - 3))
    assert np.allclose(log_priors(counts)[:3], [np.log(0.75), 0, np.log(0.25)])
    rare = log_priors(np.array([10**6, 1, 0, 10**6]))
    assert np.allclose(rare, [np.log(0.5), np.log(RAREST / 4), 0, np.log(0.5)], atol=1e-6)
    posteriors = Knows(task)
    found = dict(log_likelihoods(task.split("dev"), posteriors, counts))
    assert set(found) == set(task.split("dev").utts)
    utt = next(iter(found))
    expected = posteriors([torch.from_numpy(task.split("dev").feats(utt).copy())])[0].numpy()
    assert np.allclose(found[utt][:, [0, 2]], expected[:, [0, 2]] - np.log([0.75, 0.25]), atol=1e-5)
    assert (found[utt][:, 1] == NEVER).all()


def test_decodes_what_was_said(task, tmp_path):
    posteriors = Knows(task)
    text = decode_experiment(tmp_path / "x", task, posteriors, OPTIONS, "digest")
    assert text.splitlines()[0].startswith("%WER 0.00 [ 0 / ")
    assert text.splitlines()[1].startswith("%WER 0.00 [ 0 / ")
    said = (task.path / "test/text").read_text()
    assert (tmp_path / "x/decode_test/hyp.txt").read_text() == said
    stats = yaml.safe_load((tmp_path / "x/decode_dev/stats.yaml").read_text())
    assert stats["utterances"] == 8
    before = posteriors.calls
    assert decode_experiment(tmp_path / "x", task, posteriors, OPTIONS, "digest") is None
    assert posteriors.calls == before


def test_priors_are_what_a_rare_state_needs(task, tmp_path):
    """Posteriors of a network that saw one phone very often are right only when divided by the priors."""
    counts = np.array([10**7] * 3 + [10] * (STATES - 3))
    knows = Knows(task, sharpness=0.2)

    def biased(utterances):
        prior = torch.from_numpy(log_priors(counts))
        return [(logp + prior).log_softmax(-1) for logp in knows(utterances)]

    def errors(pdf_counts, name):
        other = Task(**{**vars(task), "pdf_counts": pdf_counts})
        decode_experiment(tmp_path / name, other, biased, OPTIONS, name)
        return yaml.safe_load((tmp_path / name / "decode_test/stats.yaml").read_text())["errors"]

    assert errors(counts, "right") == 0
    assert errors(np.ones(STATES, np.int64), "flat") > 0


def test_a_state_that_was_seen_once_is_not_found_everywhere(task, tmp_path):
    """A network that is a little unsure of everything gives it more than it had in training, in every frame."""
    counts = np.array([1] + [10**6] * (STATES - 1))
    knows = Knows(task)

    def unsure(utterances):
        return [torch.logaddexp(logp + np.log(0.98), torch.tensor(np.log(0.02 / STATES))) for logp in knows(utterances)]

    other = Task(**{**vars(task), "pdf_counts": counts})
    utt = task.split("dev").utts[0]
    raw = unsure([torch.from_numpy(task.split("dev").feats(utt).copy())])[0].numpy() - np.log(counts / counts.sum())
    assert (raw.argmax(1) == 0).all()
    decode_experiment(tmp_path / "x", other, unsure, OPTIONS, "digest")
    stats = yaml.safe_load((tmp_path / "x/decode_test/stats.yaml").read_text())
    assert stats["per"] < 5


def test_processes_and_batches_change_nothing(task, tmp_path):
    knows = Knows(task)

    def noisy(utterances):
        return [logp + torch.sin(37 * logp) for logp in knows(utterances)]

    for nj in (1, 3):
        decode_experiment(tmp_path / str(nj), task, noisy, OPTIONS, "digest", nj)
    for name in ("PER", "decode_dev/stats.yaml", "decode_test/hyp.txt", "decode_test/per_phone"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


def save_model(out, sizes, **values):
    # One weight: nothing is to be chosen for a model that knows nothing, and no grid to be made wider.
    values = {"decode": {"lm_weights": [2.0]}, **values}
    config = config_from_dict({"model": {"lstm": {"layers": 1, "cells": 8}}, **values}, "test")
    model = AcousticModel(config, sizes)
    out.mkdir(exist_ok=True)
    (out / "config.yaml").write_text(config_to_yaml(config))
    saved = {"config": yaml.safe_load(config_to_yaml(config)), "sizes": model.description()}
    write_tensors(out / "final.pt", {**saved, "model": model.state_dict()})


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["decode", *map(str, arguments)])
    decode.main()
    return capsys.readouterr().out


def test_command_line(task, tmp_path, monkeypatch, capsys):
    out = tmp_path / "exp"
    save_model(out, Sizes(40, STATES, PHONES))
    first = run(monkeypatch, capsys, "--task", task.path, out)
    assert (out / "PER").read_text() == first
    assert "is up to date" in run(monkeypatch, capsys, "--task", task.path, "--nj", 2, out)
    save_model(out, Sizes(40, STATES, PHONES), decode={"lm_weights": [3.0]})
    assert "lm_weight=3" in run(monkeypatch, capsys, "--task", task.path, out)


def test_a_cfg_that_decodes_otherwise_is_obeyed_and_trains_nothing(task, tmp_path, monkeypatch, capsys):
    out, cfg = tmp_path / "exp", tmp_path / "x.cfg"
    save_model(out, Sizes(40, STATES, PHONES))
    (out / "config.yaml").write_text("# task 12\n" + (out / "config.yaml").read_text())
    command = ("--task", task.path, "--config", cfg, out)
    same = "seed: 7\nmodel: {lstm: {layers: 1, cells: 8}}\n"
    cfg.write_text(same + "decode: {lm_weights: [2.0]}\n")
    before = (out / "config.yaml").read_bytes()
    assert "lm_weight=2" in run(monkeypatch, capsys, *command)
    assert "is up to date" in run(monkeypatch, capsys, *command)
    assert (out / "config.yaml").read_bytes() == before
    cfg.write_text(same + "decode: {lm_weights: [3.0]}\n")
    assert "lm_weight=3" in run(monkeypatch, capsys, *command)
    assert (out / "config.yaml").read_text().startswith("# task 12\nseed: 2234\n")
    assert "is up to date" in run(monkeypatch, capsys, "--task", task.path, out)
    cfg.write_text(same + "decode: {lm_weights: [3.0]}\ntrain: {epochs: 3}\n")
    monkeypatch.setattr(sys, "argv", ["decode", *map(str, command)])
    decode.main()
    said = capsys.readouterr()
    assert "is up to date" in said.out
    assert f"{out}: was trained with train.epochs = 8, {cfg} now says 3: decoded as trained" in said.err
    cfg.write_text(same + "decode: {lm_weights: [3.0]}\ntrain: {workers: 2}\n")  # or --workers 2
    decode.main()
    assert "was trained with" not in capsys.readouterr().err


def test_the_task_is_the_one_that_training_noted(task, tmp_path, monkeypatch, capsys):
    out = tmp_path / "exp"
    save_model(out, Sizes(40, STATES, PHONES))
    with pytest.raises(UserError, match="train.yaml: no such file; train the model first, or give --task DIR"):
        run(monkeypatch, capsys, out)
    for noted, message in (
        ("task: nowhere\n", "train.yaml: task: nowhere: no finished task .*, or give --task DIR"),
        ("seed: 1\n", "train.yaml: no task; make it again"),
        ("- 1\n", "train.yaml: expected YAML lines"),
    ):
        (out / "train.yaml").write_text(noted)
        with pytest.raises(UserError, match=message):
            run(monkeypatch, capsys, out)
    (out / "train.yaml").write_text(f"task: {task.path}\n")
    assert run(monkeypatch, capsys, out) == (out / "PER").read_text()


def test_what_does_not_fit_is_refused(task, tmp_path, monkeypatch, capsys):
    out = tmp_path / "exp"
    with pytest.raises(UserError, match="no trained model"):
        run(monkeypatch, capsys, "--task", task.path, out)
    save_model(out, Sizes(40, STATES + 1, PHONES))
    with pytest.raises(UserError, match="trained for 13 tied states .* has 12"):
        run(monkeypatch, capsys, "--task", task.path, out)


def test_models_kept_after_each_epoch_are_decoded_on_dev(task, tmp_path, monkeypatch, capsys):
    out = tmp_path / "exp"
    save_model(out, Sizes(40, STATES, PHONES))
    for epoch in (1, 10, 2):
        (out / f"epochs/{epoch}").mkdir(parents=True)
        save_model(out / f"epochs/{epoch}", Sizes(40, STATES, PHONES), seed=epoch)
    said = run(monkeypatch, capsys, "--task", task.path, out).splitlines()
    assert [line.split(":")[0] for line in said[:3]] == [f"after epoch {epoch}" for epoch in (1, 2, 10)]
    for epoch in (1, 2, 10):
        place = out / f"epochs/{epoch}"
        stats = yaml.safe_load((place / "decode_dev/stats.yaml").read_text())
        assert any(line == f"after epoch {epoch}: PER {stats['per']:.2f} % on dev" for line in said)
        assert not (place / "decode_test").exists()
        # As if it were an experiment of its own.
        alone = tmp_path / f"alone{epoch}"
        save_model(alone, Sizes(40, STATES, PHONES), seed=epoch)
        run(monkeypatch, capsys, "--task", task.path, alone)
        assert (alone / "decode_dev/hyp.txt").read_bytes() == (place / "decode_dev/hyp.txt").read_bytes()
