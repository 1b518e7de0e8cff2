"""Features as they arrive are those of the whole."""

import numpy as np
import pytest

from frenchpress.feats.mfcc import DEFAULT, mfcc
from frenchpress.feats.online import OnlineMfcc, RunningMean, Splicer
from frenchpress.feats.options import MfccConfig
from frenchpress.feats.splice import splice


@pytest.mark.parametrize("piece", [1, 37, 160, 1777, 100000])
def test_cepstra_do_not_depend_on_pieces(piece):
    samples = np.random.default_rng(0).normal(0, 1000, 4000).astype(np.float32)
    online = OnlineMfcc(DEFAULT)
    found = [online.push(samples[k : k + piece]) for k in range(0, len(samples), piece)]
    assert np.array_equal(np.concatenate([*found, online.finish()]), mfcc(samples, 16000))


def test_audio_of_no_frame_gives_none():
    online = OnlineMfcc(DEFAULT)
    assert online.push(np.zeros(399, np.float32)).shape == online.finish().shape == (0, 13)


def test_running_mean_is_its_formula():
    rng = np.random.default_rng(1)
    frames, mean = rng.normal(3, 1, (40, 2)).astype(np.float32), np.array([1, 2], np.float32)
    running, found = RunningMean(mean, window=10, prior_frames=4), []
    for k in (0, 1, 4, 25):
        found.append(running(frames[k : {0: 1, 1: 4, 4: 25, 25: 40}[k]]))
    for t, row in enumerate(np.concatenate(found)):
        last = frames[max(0, t - 9) : t + 1].astype(np.float64)
        prior = min(10 - len(last), 4)
        assert np.allclose(row, frames[t] - (last.sum(0) + prior * mean) / (len(last) + prior), atol=1e-5)


def test_dither_does_not_depend_on_pieces():
    conf, samples = MfccConfig(use_energy=False, dither=2.0), np.zeros(8000, np.float32)
    whole = mfcc(samples, 16000, conf)
    for piece in (7, 160, 3001):
        online = OnlineMfcc(conf)
        found = [online.push(samples[k : k + piece]) for k in range(0, 8000, piece)]
        assert np.array_equal(np.concatenate([*found, online.finish()]), whole)


def apply_cmvn_sliding(frames, window, min_window):
    """Kaldi's apply-cmvn-sliding --center=false, frame by frame (src/feat/feature-functions.cc, SlidingWindowCmn)."""
    out = np.zeros(frames.shape)
    for t in range(len(frames)):
        start, end = t - window, t + 1
        if start < 0:
            start, end = 0, end - start
        if end > t:
            end = max(t + 1, min_window)
        if end > len(frames):
            start, end = max(0, start - (end - len(frames))), len(frames)
        out[t] = frames[t] - frames[start:end].astype(np.float64).mean(0)
    return out


def test_without_prior_frames_it_is_kaldis_sliding_mean():
    """Kaldi's causal window has one frame more than it says. It differs at the start alone, where it looks ahead."""
    frames = np.random.default_rng(3).normal(3, 1, (90, 2)).astype(np.float32)
    running = RunningMean(np.zeros(2, np.float32), window=31, prior_frames=0)(frames)
    assert np.allclose(running, apply_cmvn_sliding(frames, 30, 1), atol=1e-5)
    ahead = apply_cmvn_sliding(frames, 30, 10)
    assert np.allclose(running[9:], ahead[9:], atol=1e-5) and not np.allclose(running[:9], ahead[:9], atol=1e-2)


@pytest.mark.parametrize("left,right", [(0, 0), (3, 3), (2, 0), (0, 4)])
@pytest.mark.parametrize("frames", [1, 2, 11])
def test_splicing_as_frames_come(left, right, frames):
    feats = np.random.default_rng(2).normal(size=(frames, 3)).astype(np.float32)
    for piece in (1, 4, 20):
        splicer = Splicer(left, right)
        found = [splicer.push(feats[k : k + piece]) for k in range(0, frames, piece)]
        assert np.array_equal(np.concatenate([*found, splicer.finish()]), splice(feats, left, right))
