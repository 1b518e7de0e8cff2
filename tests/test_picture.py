"""Spectrograms with phones: what is drawn, printed and refused."""

import sys
from pathlib import Path

import numpy as np
import pytest

from frenchpress import picture
from frenchpress.common import UserError
from frenchpress.export.api import Phone
from frenchpress.report import figure


class Heard:
    """Stands for a recogniser."""

    rate = 16000

    def __init__(self, model):
        self.model = model

    def phones(self, path):
        return [Phone("sil", 0.0, 0.25), Phone("aa", 0.25, 0.5)]


@pytest.fixture
def wav(tmp_path):
    import soundfile

    samples = np.random.default_rng(1).normal(0, 1000, 8000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    return tmp_path / "a.wav"


@pytest.mark.parametrize("hertz", [500, 2000, 7000])
def test_a_tone_is_where_it_is(hertz):
    tone = 1000 * np.sin(2 * np.pi * hertz * np.arange(8000) / 16000)
    power = picture.spectrogram(tone.astype(np.float32), 16000)
    assert (power.argmax(axis=0) == hertz * 512 // 16000).all() and power.max() == 0 and power.min() >= -60
    assert picture.spectrogram(np.zeros(10, np.float32), 16000).shape[1] == 1


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(picture, "Recogniser", Heard)
    monkeypatch.setattr(sys, "argv", ["picture", *map(str, arguments)])
    picture.main()
    return capsys.readouterr().out.splitlines()


def test_phones_and_picture(wav, tmp_path, monkeypatch, capsys):
    if not figure.available():
        pytest.skip("matplotlib is not installed: pip install -e '.[plot]'")
    lines = run(monkeypatch, capsys, "--out", tmp_path / "p", "m.press", wav)
    assert lines[:2] == [f"{wav} 0.00 0.25 sil", f"{wav} 0.25 0.50 aa"]
    made = Path(lines[2].split(":")[0])
    assert made == tmp_path / "p/a.png" and made.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib(wav, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(figure, "available", lambda: False)
    lines = run(monkeypatch, capsys, "--out", tmp_path / "p", "m.press", wav)
    assert lines[2:] == [figure.HOW_TO_GET] and not (tmp_path / "p").exists()


def test_two_files_of_one_name(wav, tmp_path, monkeypatch, capsys):
    with pytest.raises(UserError, match="a: two files have this name"):
        run(monkeypatch, capsys, "m.press", wav, tmp_path / "x/a.wav")
