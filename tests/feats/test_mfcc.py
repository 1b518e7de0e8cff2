"""Features against Kaldi's own, and by definition. Tolerances are a few times what was measured."""

import numpy as np
import pytest

from frenchpress.common import UserError
from frenchpress.feats.cmvn import apply_cmvn, cmvn_stats
from frenchpress.feats.deltas import add_deltas
from frenchpress.feats.mfcc import mfcc
from frenchpress.feats.options import MfccConfig, load_config
from frenchpress.feats.splice import splice
from frenchpress.kaldi.audio import read_audio
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.io import read_matrix, read_mats

RATE = 16000


@pytest.fixture(scope="module")
def golden(kaldi_mboshi):
    names = ("mfcc", "mfcc_cmvn", "mfcc_cmvn_deltas", "lda_mllt")
    return {name: dict(read_mats(kaldi_mboshi / "golden" / f"{name}.ark")) for name in names}


def samples_of(data, utt):
    return read_audio(data.wav[utt], data.path, RATE, utt)


def test_mfcc_is_kaldis(kaldi_mboshi, golden):
    data = DataDir.load(kaldi_mboshi / "data/test")
    for utt, theirs in golden["mfcc"].items():
        ours = mfcc(samples_of(data, utt), RATE)
        assert ours.dtype == np.float32
        # Measured: at most 1.8e-4 on values up to 103.
        np.testing.assert_allclose(ours, theirs, atol=5e-4, rtol=0)


def test_cmvn_is_kaldis(kaldi_mboshi, golden):
    data = DataDir.load(kaldi_mboshi / "data/test")
    stats = dict(read_mats(kaldi_mboshi / "golden/cmvn_test.ark"))
    for utt, theirs in golden["mfcc_cmvn"].items():
        ours = apply_cmvn(golden["mfcc"][utt], stats[data.utt2spk[utt]])
        np.testing.assert_allclose(ours, theirs, atol=4e-5, rtol=0)  # measured 1.5e-5


def check_cmvn_stats(kaldi_mboshi, name):
    """Kaldi's statistics are of dithered features, so the noise itself can only agree on the average."""
    data = DataDir.load(kaldi_mboshi / "data" / name)
    conf = MfccConfig(use_energy=False)
    for speaker, theirs in read_mats(kaldi_mboshi / "golden" / f"cmvn_{name}.ark"):
        ours = cmvn_stats(mfcc(samples_of(data, u), RATE, conf, u) for u in data.spk2utt[speaker])
        count = theirs[0, -1]
        assert ours[0, -1] == count
        # Measured: means differ by at most 0.024, squares by 0.27 % (without dither: by 2.4 and 18 %).
        np.testing.assert_allclose(ours[0, :-1] / count, theirs[0, :-1] / count, atol=0.05, rtol=0)
        np.testing.assert_allclose(ours[1, :-1], theirs[1, :-1], rtol=0.005)


def test_cmvn_statistics_of_a_set_are_kaldis(kaldi_mboshi):
    check_cmvn_stats(kaldi_mboshi, "test")


@pytest.mark.slow
def test_cmvn_statistics_of_another_set_are_kaldis(kaldi_mboshi):
    check_cmvn_stats(kaldi_mboshi, "dev")


def test_deltas_are_kaldis(golden):
    for utt, theirs in golden["mfcc_cmvn_deltas"].items():
        # Measured: 3.8e-6.
        np.testing.assert_allclose(add_deltas(golden["mfcc_cmvn"][utt]), theirs, atol=1e-5, rtol=0)


def test_splice_and_transform_are_kaldis(kaldi_mboshi, golden):
    transform = read_matrix(kaldi_mboshi / "exp/tri3/final.mat")
    for utt, theirs in golden["lda_mllt"].items():
        ours = splice(golden["mfcc_cmvn"][utt], 3, 3) @ transform.T
        # Measured: no difference, but the order of summation is the matrix library's.
        np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0)


def test_splice_repeats_the_edges():
    frames = np.arange(6, dtype=np.float32).reshape(3, 2)
    spliced = splice(frames, 1, 2)
    assert spliced[0].tolist() == [0, 1, 0, 1, 2, 3, 4, 5]
    assert spliced[2].tolist() == [2, 3, 4, 5, 4, 5, 4, 5]


def test_deltas_of_a_ramp():
    ramp = np.arange(20, dtype=np.float32)[:, None] * 3
    out = add_deltas(ramp)
    assert out.shape == (20, 3)
    np.testing.assert_allclose(out[4:-4, 1], 3, atol=1e-5)
    np.testing.assert_allclose(out[4:-4, 2], 0, atol=1e-5)


def test_cmvn_by_definition():
    rng = np.random.default_rng(0)
    parts = [rng.normal(5, 3, (n, 4)).astype(np.float32) for n in (30, 70)]
    stats = cmvn_stats(parts)
    both = np.concatenate(parts)
    np.testing.assert_allclose(apply_cmvn(both, stats).mean(0), 0, atol=1e-5)
    normal = apply_cmvn(both, stats, norm_vars=True)
    np.testing.assert_allclose(normal.std(0), 1, atol=1e-5)


def test_dither_depends_on_the_utterance_alone():
    silence = np.zeros(4000, np.float32)
    conf = MfccConfig(use_energy=False)
    first = mfcc(silence, RATE, conf, "a")
    assert np.array_equal(first, mfcc(silence, RATE, conf, "a"))
    assert not np.array_equal(first, mfcc(silence, RATE, conf, "b"))


def test_digital_silence_is_finite_without_dither():
    assert np.isfinite(mfcc(np.zeros(4000, np.float32), RATE)).all()


def test_too_short_and_other_rate():
    with pytest.raises(UserError, match="less than a frame"):
        mfcc(np.zeros(399, np.float32), RATE, utt="u")
    with pytest.raises(UserError, match="8000 Hz.*16000"):
        mfcc(np.zeros(4000, np.float32), 8000, utt="u")


def conf_of(tmp_path, text):
    path = tmp_path / "mfcc.conf"
    path.write_text(text)
    return load_config(path)


def test_config_in_kaldis_syntax(tmp_path):
    conf = conf_of(tmp_path, "# comment\n--use-energy=false\n--num-ceps=20  # more\n--snip-edges\n\n--high-freq=-400")
    assert conf == MfccConfig(use_energy=False, num_ceps=20, snip_edges=True, high_freq=-400.0)


def test_the_recipes_own_config():
    from pathlib import Path

    conf = load_config(Path(__file__).resolve().parents[2] / "conf/mfcc.conf")
    assert conf == MfccConfig(use_energy=False, sample_frequency=16000.0, dither=1.0)


@pytest.mark.parametrize(
    "text, message",
    [
        ("--num-cep=13", "mfcc.conf:1: unknown option --num-cep; the nearest is --num-ceps"),
        ("\n--num-ceps=many", "mfcc.conf:2: --num-ceps is 'many', expected an integer"),
        ("--use-energy=maybe", "expected true or false"),
        ("num-ceps=13", "expected --name=value"),
        ("--dither=0\n--dither=1", "mfcc.conf:2: --dither is given twice"),
        ("--num-ceps=30", "above --num-mel-bins"),
        ("--window-type=square", "expected one of hamming"),
        ("--frame-shift=0", "above 0"),
    ],
)
def test_config_errors(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        conf_of(tmp_path, text)


@pytest.mark.parametrize("samples", [400, 401, 560, 4000, 16001])
@pytest.mark.parametrize("snip", [True, False])
def test_number_of_frames(samples, snip):
    conf = MfccConfig(use_energy=False, snip_edges=snip)
    assert len(mfcc(np.zeros(samples, np.float32), RATE, conf)) == conf.num_frames(samples)


def test_filterbanks_are_what_cepstra_are_made_of():
    """Cepstra without liftering are the orthonormal DCT of the log filterbanks (Kaldi's feature-mfcc.cc)."""
    conf = MfccConfig(use_energy=False, dither=0.0, cepstral_lifter=0.0)
    samples = np.random.default_rng(0).normal(0, 1000, 8000).astype(np.float32)
    banks, bins = mfcc(samples, RATE, conf, kind="fbank"), conf.num_mel_bins
    k, n = np.meshgrid(np.arange(conf.num_ceps), np.arange(bins), indexing="ij")
    dct = np.sqrt(np.where(k == 0, 1, 2) / bins) * np.cos(np.pi / bins * (n + 0.5) * k)
    assert banks.shape == (48, 23)
    np.testing.assert_allclose(banks @ dct.T, mfcc(samples, RATE, conf), atol=2e-3)
