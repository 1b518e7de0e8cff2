"""Speed perturbation: resampling by its definition and on sines, names and durations, features of the right length."""

from fractions import Fraction

import numpy as np
import pytest
import soundfile

from frenchpress.common import UserError
from frenchpress.feats.make_mfcc import make_mfcc
from frenchpress.feats.options import MfccConfig
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.io import MatrixReader
from frenchpress.kaldi.perturb_speed import perturb, read_speeds
from frenchpress.kaldi.resample import change_speed, kernel

SPEEDS = {"0.9": Fraction(9, 10), "1.1": Fraction(11, 10)}


def plain(samples, speed):
    """Each sample on its own: the sum of all samples, each times the low-pass at its distance."""
    n = int(len(samples) / speed + Fraction(1, 2))
    place = np.arange(len(samples))
    return np.array([(samples * kernel(k * float(speed) - place, speed)).sum() for k in range(n)])


@pytest.mark.parametrize("speed", ["0.9", "1.1", "1/2", "2", "1.007"])
@pytest.mark.parametrize("length", [1, 30, 257])
def test_polyphase_is_the_sum_of_its_definition(speed, length):
    speed, x = Fraction(speed), np.random.default_rng(0).normal(0, 1000, length).astype(np.float32)
    found = change_speed(x, speed)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain(x, speed), atol=1e-2)


@pytest.mark.parametrize("speed", [Fraction(9, 10), Fraction(11, 10), Fraction(3, 2)])
@pytest.mark.parametrize("frequency", [200, 1000, 4500])
def test_a_sine_is_a_sine_of_another_frequency(speed, frequency):
    def sine(hertz, count):
        return 10000 * np.sin(2 * np.pi * hertz * np.arange(count) / 16000)

    found = change_speed(sine(frequency, 16000).astype(np.float32), speed)
    assert len(found) == round(16000 / speed)
    inside = slice(200, -200)
    expected = sine(frequency * float(speed), len(found))
    assert np.abs(found - expected)[inside].max() < 20  # of 10000: 54 dB below


def test_what_would_alias_is_taken_out():
    """7.9 kHz at twice the speed would be 15.8 kHz, which sounds as 0.2 kHz."""
    x = 10000 * np.sin(2 * np.pi * 7900 * np.arange(16000) / 16000)
    assert np.abs(change_speed(x.astype(np.float32), Fraction(2)))[200:-200].max() < 20


@pytest.fixture(params=["files", "segments"])
def train(tmp_path, request):
    """Two utterances of two speakers of 0.5 and 0.7 s, in files of their own, or cut from one recording."""
    place = tmp_path / "train"
    place.mkdir()
    rng = np.random.default_rng(1)
    parts = [rng.normal(0, 1000, n).astype(np.int16) for n in (8000, 11200)]
    for name, part in {"a": parts[0], "b": parts[1], "all": np.concatenate(parts)}.items():
        soundfile.write(place / f"{name}.wav", part, 16000)
    wav = "rec all.wav\n" if request.param == "segments" else "s1-a a.wav\ns2-b b.wav\n"
    (place / "wav.scp").write_text(wav)
    if request.param == "segments":
        (place / "segments").write_text("s1-a rec 0 0.5\ns2-b rec 0.5 1.2\n")
    (place / "utt2spk").write_text("s1-a s1\ns2-b s2\n")
    (place / "text").write_text("s1-a x\ns2-b y x\n")
    (place / "words").write_text("s1-a w\ns2-b v w\n")
    (place / "lexiconp.txt").write_text("v 1 y\nw 1 x\n")
    (place / "utt2dur").write_text("s1-a 0.5\ns2-b 0.7\n")
    return place


def test_a_training_set_at_three_speeds(train, tmp_path):
    out = tmp_path / "train_sp"
    assert perturb(train, out, SPEEDS) and not perturb(train, out, SPEEDS)
    data = DataDir.load(out)
    data.validate()
    assert data.utts == ["s1-a", "s2-b", "sp0.9-s1-a", "sp0.9-s2-b", "sp1.1-s1-a", "sp1.1-s2-b"]
    assert data.utt2spk["sp0.9-s2-b"] == "sp0.9-s2" and data.text["sp1.1-s2-b"] == ["y", "x"]
    assert "sp1.1-s2-b v w\n" in (out / "words").read_text() and (out / "lexiconp.txt").exists()
    assert "sp0.9-s1-a 0.556\n" in (out / "utt2dur").read_text()
    conf = MfccConfig(use_energy=False)
    for place in (train, out):
        assert make_mfcc(place, conf)
    found, plain_feats = MatrixReader(out / "feats.scp"), MatrixReader(train / "feats.scp")
    lengths = {"s1-a": 8000, "s2-b": 11200}
    for utt, samples in lengths.items():
        assert np.array_equal(found[utt], plain_feats[utt])
        for name, speed in SPEEDS.items():
            assert len(found[f"sp{name}-{utt}"]) == conf.num_frames(round(samples / speed))
    assert not make_mfcc(out, conf)
    assert perturb(train, out, {"0.9": SPEEDS["0.9"]}) and len(DataDir.load(out).utts) == 4
    assert make_mfcc(out, conf) and set(MatrixReader(out / "cmvn.scp")) == {"s1", "s2", "sp0.9-s1", "sp0.9-s2"}


def test_an_utterance_at_a_speed_is_its_own_samples_resampled(train, tmp_path):
    from frenchpress.feats.mfcc import mfcc

    out, conf = tmp_path / "train_sp", MfccConfig(use_energy=False, dither=0.0)
    perturb(train, out, SPEEDS)
    make_mfcc(out, conf)
    samples = soundfile.read(train / "b.wav", dtype="int16")[0].astype(np.float32)
    expected = mfcc(change_speed(samples, SPEEDS["1.1"]), 16000, conf)
    assert np.array_equal(MatrixReader(out / "feats.scp")["sp1.1-s2-b"], expected)


def test_bad_speeds_are_one_line(train, tmp_path):
    for text, message in (
        ("fast", "speed 'fast', expected numbers"),
        ("1", "speed 1: expected each once"),
        ("0.9 0.90", "speed 0.90: expected each once"),
        ("3", "from 0.5 to 2"),
        ("", "no speeds"),
    ):
        with pytest.raises(UserError, match=message):
            read_speeds(text)
    perturb(train, tmp_path / "train_sp", SPEEDS)
    with pytest.raises(UserError, match="sp0.9-s1-a is there already; is it perturbed"):
        perturb(tmp_path / "train_sp", tmp_path / "again", SPEEDS)
    (train / "utt2speed").write_text("s1-a quick\n")
    with pytest.raises(UserError, match="utt2speed: expected '<utterance> <speed>'"):
        DataDir.load(train)
