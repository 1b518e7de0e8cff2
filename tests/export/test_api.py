"""From Python: the snippets of docs/python.md run; audio may be a file, an array or pieces; bad input is one line."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import test_recognise as made
import torch

import frenchpress
from frenchpress.config import config_from_dict, config_to_dict
from frenchpress.export import api
from frenchpress.feats.mfcc import mfcc
from frenchpress.feats.online import RunningMean
from frenchpress.feats.options import parse_config
from frenchpress.feats.splice import splice
from frenchpress.nnet.checkpoint import write_tensors
from frenchpress.nnet.model import AcousticModel, Sizes
from frenchpress.nnet.task import Task
from frenchpress.packed.write import write_model

ROOT = Path(__file__).resolve().parents[2]
SNIPPETS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text("utf-8"), re.M | re.S)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with a.wav and a trained and packed exp/x; audio becomes features by a made front end."""
    exp = tmp_path / "exp/x"
    exp.mkdir(parents=True)
    config = config_from_dict({"model": {"context": [1, 1], "lstm": {"layers": 1, "cells": 12}}}, "test")
    torch.manual_seed(1)
    model = AcousticModel(config, Sizes(feat_dim=made.DIM, num_pdfs=made.PDFS, num_phones=2))
    content = {"config": config_to_dict(config), "sizes": model.description(), "model": model.state_dict()}
    write_tensors(exp / "final.pt", content)
    write_model(exp / "model.press", made.packed_model(made.made_front()))
    made.write_graph(exp / "graph")
    noise = np.random.default_rng(5).normal(0, 1000, 48000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    task = made.made_task(tmp_path)
    monkeypatch.setattr(Task, "of", lambda *given: task)
    monkeypatch.setattr(api, "find_system", lambda task: (tmp_path, tmp_path))
    monkeypatch.setattr(api, "make_front", lambda *given: (made.made_front(), made.MFCC))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("number", range(3))
def test_snippets_of_the_page_run(place, number, capsys):
    assert len(SNIPPETS) == 3
    exec(compile(SNIPPETS[number], f"docs/python.md, snippet {number + 1}", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) > 1


def test_import_is_light():
    code = "import sys, frenchpress; dir(frenchpress); assert not {'torch', 'numpy', 'yaml'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        frenchpress.lode  # noqa: B018


def test_file_array_and_pieces_give_the_same_phones(place):
    recogniser = frenchpress.Recogniser("exp/x/model.press", adapt=True)
    phones = recogniser.phones("a.wav")
    assert [p.start for p in phones] == [0, *(p.end for p in phones[:-1])] and phones[-1].end == 2.98
    ints, floats = (soundfile.read("a.wav", dtype=kind)[0] for kind in ("int16", "float64"))
    assert recogniser.phones(ints) == recogniser.phones(floats) == phones
    one, other = recogniser.stream(), recogniser.stream()
    assert one.so_far() == []
    for k in range(0, 48000, 1000):
        one.push(ints[k : k + 1000])
        other.push(ints[k : k + 1000][::-1].copy())
    assert one.phones == phones[: len(one.phones)] and one.so_far()[-1].end > one.phones[-1].end
    one.finish()
    assert one.phones == phones


def test_posteriors_of_audio_are_those_of_its_features(place):
    model, front = frenchpress.load("exp/x"), made.made_front()
    samples = soundfile.read("a.wav", dtype="int16")[0]
    cepstra = RunningMean(front.mean)(mfcc(samples, 16000, parse_config(made.MFCC, "here")))
    feats = splice(cepstra, 1, 1) @ front.matrix.T
    for of, columns in (("states", made.PDFS), ("phones", 2)):
        found = model.posteriors("a.wav", of)
        assert found.shape == (298, columns) and np.allclose(found.sum(1), 1, atol=1e-5)
        assert np.allclose(model.posteriors(feats, of), found, atol=1e-5)
        assert np.array_equal(model.posteriors(samples, of), found)
    moved = model.posteriors("a.wav", transform=2 * np.eye(made.DIM, made.DIM + 1))
    assert np.allclose(moved, model.posteriors(2 * feats), atol=1e-5)
    assert np.allclose(model.posteriors(feats), model.model.log_posteriors(torch.from_numpy(feats)).exp().numpy())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("none.wav", "none.wav: no such file"),
        (np.zeros((2, 3, 4)), r"an array of shape \(2, 3, 4\); expected samples \[N\] or features \[T, 4\]"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (np.zeros(100, np.int16), "shorter than one frame"),
        (np.zeros(9000, np.int32), "type int32, expected int16"),
        (np.full(9000, 3000.0), "floating-point samples up to 3000, expected -1 to 1"),
        (np.full(9000, np.nan), "sample 0 .* is nan"),
    ],
)
def test_what_is_no_audio_is_refused(place, given, message):
    with pytest.raises(frenchpress.UserError, match=message):
        frenchpress.load("exp/x").posteriors(given)


def test_other_mistakes(place):
    with pytest.raises(frenchpress.UserError, match="posteriors of 'words', expected of states or phones"):
        frenchpress.load("exp/x").posteriors("a.wav", of="words")
    with pytest.raises(frenchpress.UserError, match="one channel"):
        frenchpress.Recogniser("exp/x/model.press").phones(np.zeros((9000, 2)))
    with pytest.raises(frenchpress.UserError, match=r"graph/HCLG.fst: no such file"):
        frenchpress.Recogniser("exp/x/model.press", graph="graph")
