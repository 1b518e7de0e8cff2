"""Features for unknown speakers: what training reads is what the recogniser computes from the same audio."""

import sys

import numpy as np
import pytest
import soundfile

from frenchpress.common import UserError
from frenchpress.export.recogniser import audio_features
from frenchpress.feats import make_mfcc
from frenchpress.feats.options import MfccConfig
from frenchpress.gmm import make_unadapted_feats
from frenchpress.kaldi.gmm import AmGmm, DiagGmm, write_model
from frenchpress.kaldi.io import MatrixReader, write_matrix
from frenchpress.kaldi.topology import HmmState, HmmTopology
from frenchpress.kaldi.transition import TransitionModel

CONF = MfccConfig(use_energy=False, dither=0.0)


@pytest.fixture
def place(tmp_path):
    """train and dev of one utterance each with MFCC, and a system with an LDA matrix of 3 frames."""
    for k, name in enumerate(("train", "dev")):
        (tmp_path / name).mkdir()
        noise = np.random.default_rng(k).normal(0, 1000 + 4000 * k, 16000).astype(np.int16)
        soundfile.write(tmp_path / name / "a.wav", noise, 16000)
        (tmp_path / name / "wav.scp").write_text("s-u a.wav\n")
        (tmp_path / name / "utt2spk").write_text("s-u s\n")
        (tmp_path / name / "text").write_text("s-u a\n")
        assert make_mfcc.make_mfcc(tmp_path / name, CONF)
    (tmp_path / "tri").mkdir()
    matrix = np.random.default_rng(2).normal(0, 0.1, (5, 39)).astype(np.float32)
    write_matrix(tmp_path / "tri/final.mat", matrix)
    (tmp_path / "tri/splice_opts").write_text("--left-context=1 --right-context=1\n")
    topo = HmmTopology([[HmmState(0, ((0, 0.5), (1, 0.5)), 0), HmmState(-1, (), -1)]], {1: 0})
    gmm = DiagGmm(np.ones(1), np.zeros((1, 5)), np.ones((1, 5)))
    write_model(tmp_path / "tri/final.mdl", TransitionModel(topo, np.array([[1, 0, 0, 0]])), AmGmm([gmm]))
    return tmp_path


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    module.main()


@pytest.mark.parametrize("features,kind,dim", [("lda", "mfcc", 5), ("fbank", "fbank", 40)])
def test_they_are_those_of_the_recogniser(place, monkeypatch, capsys, features, kind, dim):
    arguments = (features, place / "train", place / "tri", place / "dev", place / "out")
    if kind == "fbank":
        with pytest.raises(UserError, match="train/fbank: no such features; frenchpress.feats.make_mfcc --kind fbank"):
            run(make_unadapted_feats, monkeypatch, *arguments)
        run(make_mfcc, monkeypatch, "--kind", "fbank", place / "train", place / "dev")
        assert "FBANK and CMVN statistics written" in capsys.readouterr().out
    run(make_unadapted_feats, monkeypatch, *arguments)
    found = MatrixReader(place / "out/feats.scp")["s-u"]
    front = make_unadapted_feats.unadapted_front(features, place / "train", place / "tri")
    samples = soundfile.read(place / "dev/a.wav", dtype="int16")[0].astype(np.float32)
    expected = audio_features(samples, front, make_mfcc.made_with(place / "dev", kind), kind)
    assert found.shape == (98, dim) and np.allclose(found, expected, atol=1e-4)
    assert (place / "out/text").read_text() == "s-u a\n" and not (place / "out/wav.scp").exists()
    run(make_unadapted_feats, monkeypatch, *arguments)
    assert "is up to date" in capsys.readouterr().out
