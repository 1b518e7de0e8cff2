"""Models broken on purpose: each finding comes from its cause, and a healthy model is left in peace."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from made_cfg import write_cfg
from small_task import PHONES, STATES, add_graph, make_task

from frenchpress.common import UserError
from frenchpress.config.load import config_from_dict
from frenchpress.kaldi.io import read_int_vectors, write_int_vectors
from frenchpress.nnet import decode
from frenchpress.nnet.checkpoint import write_tensors
from frenchpress.nnet.model import load_model, read_weights
from frenchpress.nnet.task import Task
from frenchpress.report import figure
from frenchpress.report.diagnose import __main__ as command
from frenchpress.report.diagnose.findings import what_is_off

CONFIG = """
model: {context: [1, 1], lstm: {layers: 1, cells: 24}}
compress:
  "default": {weight_bits: 4, act_bits: 12, quantizer: lsq}
train: {epochs: 24, batch: 4, average: 0.9, threads: 1, device: cpu}
decode: {acoustic_scales: [1.0], lm_weights: [0.5, 1, 2]}
"""


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """A trained and decoded exp/x with its exp/task."""
    exp = tmp_path_factory.mktemp("healthy") / "exp"
    task = make_task(exp / "task", utterances=48)
    add_graph(task)
    place = Path(__file__).resolve().parents[1] / "nnet"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        from train_command import run

        run(patch, write_cfg(exp.parent, CONFIG), task, exp / "x")
        patch.setattr(sys, "argv", ["decode", str(exp / "x")])
        decode.main()
    torch.use_deterministic_algorithms(False)
    return exp


@pytest.fixture
def exp(healthy, tmp_path):
    """A copy to break."""
    shutil.copytree(healthy, tmp_path / "exp")
    for scp in (tmp_path / "exp/task").glob("*/feats.scp"):  # archives were moved
        scp.write_text(scp.read_text().replace(str(healthy), str(tmp_path / "exp")))
    return tmp_path / "exp"


def kinds(exp):
    task = Task.load(exp / "task")
    return [f.kind for f in command.diagnose(exp / "x", task, load_model(exp / "x")).findings]


def test_a_healthy_model_is_left_in_peace(healthy):
    assert kinds(healthy) == []


def history(exp, change):
    path = exp / "x/metrics.jsonl"
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    change(entries)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def overfit(entries):
    for k, entry in enumerate(entries[5:]):
        entry["dev_loss"] = entries[4]["dev_loss"] * (1.05 + 0.02 * k)


def stop_early(entries):
    del entries[3:]
    for k, entry in enumerate(entries):
        entry["dev_loss"], entry["dev_frame_error_cd"] = 5 - k, 0.9 - 0.2 * k
        entry["loss_cd"] = 1.0


def jump(entries):
    entries[6]["loss_cd"] += 3 * entries[5]["loss_cd"] + 3 * entries[5]["loss_mono"]


def learn_nothing(entries):
    for entry in entries:
        entry["loss_cd"] = 0.95 * np.log(STATES)


@pytest.mark.parametrize(
    ("change", "kind"),
    [(overfit, "overfitted"), (stop_early, "still falling"), (jump, "unstable"), (learn_nothing, "underfitted")],
)
def test_curves(exp, change, kind):
    history(exp, change)
    assert kinds(exp) == [kind]


def test_graph_of_another_experiment(exp):
    words = (exp / "task/graph/words.txt").read_text().splitlines()
    turned = [words[0], *(f"p{(p + 1) % PHONES} {p + 1}" for p in range(PHONES))]
    (exp / "task/graph/words.txt").write_text("\n".join(turned) + "\n")
    assert kinds(exp) == ["graph of another experiment"]


def test_alignment_of_another_corpus(exp):
    for split in ("train", "dev"):
        path = exp / "task" / split / "phone.ark"
        write_int_vectors(path, sorted((u, (p + 1) % PHONES) for u, p in read_int_vectors(path).items()))
    assert kinds(exp) == ["targets of another corpus"]


def test_priors_of_another_experiment(exp):
    meta = yaml.safe_load((exp / "task/meta.yaml").read_text())
    meta["pdf_counts"] = [1000] * 3 + [1] * (STATES - 3)
    (exp / "task/meta.yaml").write_text(yaml.safe_dump(meta))
    assert kinds(exp) == ["priors unlike outputs"]


def hypotheses(exp, change):
    path = exp / "x/decode_dev/hyp.mapped"
    lines = [line.split() for line in path.read_text().splitlines()]
    path.write_text("".join(" ".join([words[0], *change(words[0], words[1:])]) + "\n" for words in lines))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda utt, words: [w for word in words for w in (word, "p0" if len(word) == 2 else word)], "insertions"),
        (lambda utt, words: words[::3], "deletions"),
    ],
)
def test_lm_weight(exp, change, kind):
    hypotheses(exp, change)
    found = kinds(exp)
    assert f"too many {kind}" in found and "frames right, phones wrong" in found
    stats = exp / "x/decode_dev/stats.yaml"
    for weight, said in ((2.0 if kind == "insertions" else 0.5, "est that was tried"), (1.0, "inside its grid")):
        stats.write_text(yaml.safe_dump({**yaml.safe_load(stats.read_text()), "lm_weight": weight}))
        findings = command.diagnose(exp / "x", Task.load(exp / "task"), load_model(exp / "x")).findings
        assert said in next(f.advice for f in findings if f.kind == f"too many {kind}")


def wrong(words):
    return [f"p{(int(word[1:]) + 1) % PHONES}" for word in words]


def test_speakers_and_utterances(exp):
    utts = [line.split()[0] for line in (exp / "x/decode_dev/ref").read_text().splitlines()]
    hypotheses(exp, lambda utt, words: wrong(words) if utt == utts[0] else words)
    assert "utterances beyond hope" in kinds(exp)
    hypotheses(exp, lambda utt, words: wrong(words) if utt.startswith("spk1") else words)
    assert "a speaker far off" in kinds(exp)


def test_a_phone_that_is_never_right(exp):
    text = [line.split()[1:] for line in (exp / "x/decode_dev/ref").read_text().splitlines()]
    often = max({w for words in text for w in words}, key=lambda p: sum(words.count(p) for words in text))
    other = next(f"p{p}" for p in range(PHONES) if f"p{p}" != often)
    ref = exp / "x/decode_dev/ref"
    ref.write_text(ref.read_text() + f"spk9-extra {' '.join([often] * 20)}\n")
    (exp / "task/dev/utt2spk").open("a").write("spk9-extra spk9\n")
    hyp = exp / "x/decode_dev/hyp.mapped"
    hyp.write_text(hyp.read_text() + f"spk9-extra {' '.join([often] * 20)}\n")
    hypotheses(exp, lambda utt, words: [other if word == often else word for word in words])
    assert "phones never right" in kinds(exp)


def break_model(exp, change):
    saved = read_weights(exp / "x/final.pt")
    change(saved["model"])
    write_tensors(exp / "x/final.pt", saved)


def test_saturated_layer(exp):
    break_model(exp, lambda model: model["lstm.lstm0.norm.weight"].mul_(60))
    assert "saturated layer" in kinds(exp)


def test_cells_that_do_not_move(exp):
    def kill(model):
        for name in ("weight", "bias"):
            model[f"lstm.lstm0.norm.{name}"][72:] = -40.0 if name == "bias" else 0.0  # output gates shut
        model["lstm.lstm0.recurrent_matrix.weight"][72:] = 0.0

    break_model(exp, kill)
    assert "cells that do not move" in kinds(exp)


def test_inputs_cut_off_and_weights_at_the_clip(exp):
    break_model(exp, lambda model: model["lstm.lstm0.act_in.limit"].mul_(0.3))
    assert "inputs cut off" in kinds(exp)
    break_model(exp, lambda model: model["lstm.lstm0.input_matrix.quantizer.step"].mul_(0.2))
    assert "weights at the clip" in kinds(exp)


def test_what_is_set_already_is_not_proposed():
    config = config_from_dict({"train": {"clip": 1.0, "augment": {}}}, "x.cfg")
    options = ("model.lstm.dropout: 0.2", "train.augment: {}", "train.clip: 5", "model.lstm.batch_norm: true")
    assert what_is_off(config, *options) == ["model.lstm.dropout: 0.2"]


def test_command_writes_report_and_figures(exp, monkeypatch, capsys):
    history(exp, overfit)
    monkeypatch.setattr(sys, "argv", ["diagnose", "--task", str(exp / "task"), str(exp / "x")])
    command.main()
    said = capsys.readouterr().out
    assert said.startswith(f"{exp}/x, on dev: 1 to look at\noverfitted: dev loss was least after epoch 5")
    assert "\n    Try: train.epochs: 5; or model.lstm.dropout: 0.2, train.augment: {}, fewer cells" in said
    report = (exp / "x/diagnose.md").read_text()
    assert "**overfitted**" in report and "confusions.csv" in report and "spk1-dev" in report
    table = (exp / "x/diagnose/confusions.csv").read_text().splitlines()
    assert table[0].split(",")[0] == "said" and table[-1].startswith("-,") and len(table) >= PHONES
    assert (exp / "x/diagnose/curves.png").exists() == figure.available()
    before = (exp / "x/diagnose.md").stat().st_mtime_ns
    command.main()
    assert (exp / "x/diagnose.md").stat().st_mtime_ns == before, "written again though nothing changed"


def test_without_figures_and_without_decoding(exp, monkeypatch, capsys):
    monkeypatch.setattr(figure, "available", lambda: False)
    shutil.rmtree(exp / "x/decode_dev")
    monkeypatch.setattr(sys, "argv", ["diagnose", "--task", str(exp / "task"), str(exp / "x")])
    command.main()
    assert "matplotlib is not installed" in capsys.readouterr().out
    assert "Not decoded" in (exp / "x/diagnose.md").read_text() and not (exp / "x/diagnose").exists()


def test_bad_input(exp, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["diagnose", "--task", str(exp / "task"), str(exp / "y")])
    with pytest.raises(UserError, match="y/final.pt: no such file"):
        command.main()
    for text, said in (
        ("{", "metrics.jsonl: not a JSON object in each line"),
        ("[1]", "metrics.jsonl: not a JSON object in each line"),
        ('{"epoch": 1, "loss_cd": "high"}', "metrics.jsonl:1: loss_cd: expected a number"),
        ('{"epoch": 1, "loss_cd": NaN}', "metrics.jsonl:1: loss_cd: expected a number"),
    ):
        (exp / "x/metrics.jsonl").write_text(text)
        with pytest.raises(UserError, match=said):
            kinds(exp)
