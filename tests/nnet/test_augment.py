"""What SpecAugment hides: stretches of frames and ranges of features, before splicing, the same ones again."""

import numpy as np
import pytest
import torch

from frenchpress.config import AugmentConfig
from frenchpress.nnet.augment import hide
from frenchpress.nnet.data import Frames

OFFSETS, DIM = range(-2, 2), 6


@pytest.fixture
def frames():
    random = np.random.default_rng(0)
    utterances = [(f"u{i}", random.normal(size=(n, DIM)), np.zeros(n), np.zeros(n)) for i, n in enumerate((40, 25, 9))]
    return Frames(utterances)


def hidden_of(frames, config, at=(0, 0, 0), offsets=OFFSETS):
    """Bool [B, T, offsets, DIM]: what was replaced by the mean, here a value that no feature has."""
    batch = frames.batch(frames.pieces(100), offsets)
    mean = torch.full((len(offsets) * DIM,), 77.0)
    before = batch.inputs.clone()
    hide(batch, offsets, mean, config, at)
    changed = batch.inputs == 77.0
    assert torch.equal(batch.inputs[~changed], before[~changed])
    return changed.view(3, 40, len(offsets), DIM)


def test_a_hidden_frame_is_missing_wherever_it_is_a_neighbour(frames):
    hidden = hidden_of(frames, AugmentConfig(time_masks=30.0, time_width=5, feature_masks=0))
    assert 0.05 < hidden[0].float().mean() < 0.9
    assert torch.equal(hidden.any(-1), hidden.all(-1))  # whole frames
    whole = hidden.all(-1)
    for offset in range(3):  # place `offset + 1` of frame t is place `offset` of frame t + 1
        assert torch.equal(whole[:, :-1, offset + 1], whole[:, 1:, offset])


def test_of_frames_apart_the_same_are_hidden(frames):
    config = AugmentConfig()
    assert torch.equal(hidden_of(frames, config, offsets=range(-2, 2, 3)), hidden_of(frames, config)[:, :, ::3])


def test_hidden_features_are_hidden_in_all_of_a_piece_and_no_wider_than_asked_for(frames):
    hidden = hidden_of(frames, AugmentConfig(time_masks=0.0, feature_masks=1, feature_width=3), at=(1, 2, 3))
    ranges = hidden[:, 0, 0]
    assert torch.equal(hidden, ranges[:, None, None].expand_as(hidden))
    assert ranges.any() and int(ranges.sum(1).max()) <= 3
    for row in ranges:
        places = row.nonzero().flatten()
        assert len(places) == 0 or int(places[-1] - places[0]) == len(places) - 1


def test_seed_epoch_and_step_decide(frames):
    config = AugmentConfig()
    first = hidden_of(frames, config, at=(5, 1, 7))
    assert torch.equal(first, hidden_of(frames, config, at=(5, 1, 7)))
    assert not torch.equal(first, hidden_of(frames, config, at=(5, 1, 8)))


def test_stretches_as_many_as_asked_for(frames):
    """On average time_masks for 100 frames, of a mean width of half of time_width."""
    config = AugmentConfig(time_masks=2.0, time_width=4, feature_masks=0)
    share = np.mean([hidden_of(frames, config, at=(0, 0, i))[0, :, 2].any(-1).float().mean() for i in range(600)])
    assert share == pytest.approx(0.042, abs=0.008)  # 2 / 100 stretches begin at a frame, each 2 frames long
