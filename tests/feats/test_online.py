"""Features as they arrive are those of the whole."""

import numpy as np
import pytest

from frenchpress.feats.mfcc import DEFAULT, mfcc
from frenchpress.feats.online import OnlineMfcc, RunningMean, Splicer
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


@pytest.mark.parametrize("left,right", [(0, 0), (3, 3), (2, 0), (0, 4)])
@pytest.mark.parametrize("frames", [1, 2, 11])
def test_splicing_as_frames_come(left, right, frames):
    feats = np.random.default_rng(2).normal(size=(frames, 3)).astype(np.float32)
    for piece in (1, 4, 20):
        splicer = Splicer(left, right)
        found = [splicer.push(feats[k : k + piece]) for k in range(0, frames, piece)]
        assert np.array_equal(np.concatenate([*found, splicer.finish()]), splice(feats, left, right))
