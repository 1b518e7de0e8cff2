"""Pieces, batches and splicing against the obvious way of doing it."""

import numpy as np
import pytest
import torch

from frenchpress.common import UserError
from frenchpress.nnet.data import Frames, epoch_order, in_order, splice


@pytest.fixture
def frames():
    random = np.random.default_rng(1)
    lengths = [7, 1, 30, 12, 25]
    return Frames(
        (f"utt{i}", random.normal(size=(n, 3)), random.integers(0, 9, n), random.integers(0, 4, n))
        for i, n in enumerate(lengths)
    )


@pytest.mark.parametrize("longest", [1, 5, 12, 1000])
def test_pieces_cover_every_frame_once_and_are_about_equal(frames, longest):
    pieces = frames.pieces(longest)
    seen = [(u, t) for u, begin, length in pieces.tolist() for t in range(begin, begin + length)]
    assert sorted(seen) == [(u, t) for u, n in enumerate(frames.lengths) for t in range(n)]
    assert pieces[:, 2].min() >= 1 and pieces[:, 2].max() <= longest
    for utt in range(5):
        lengths = pieces[pieces[:, 0] == utt, 2]
        assert lengths.max() - lengths.min() <= 1


@pytest.mark.parametrize("offsets", [range(-2, 2), range(-4, 3, 3)], ids=["next to each other", "every third"])
def test_batch_is_what_a_loop_would_make(frames, offsets):
    rows = frames.pieces(10)[[0, 3, 4, 7]]
    batch = frames.batch(rows, offsets)
    feats = frames.feats.numpy()
    targets = []
    for b, (utt, begin, length) in enumerate(rows.tolist()):
        first = frames.starts[utt]
        for t in range(length):
            near = [np.clip(begin + t + o, 0, frames.lengths[utt] - 1) + first for o in offsets]
            np.testing.assert_array_equal(batch.inputs[b, t], feats[near].ravel())
            targets.append((frames.cd[first + begin + t], frames.mono[first + begin + t]))
    assert list(zip(batch.cd, batch.mono)) == targets
    assert batch.lengths.tolist() == rows[:, 2].tolist() and batch.frames == rows[:, 2].sum()
    assert batch.utts == [f"utt{u}" for u in rows[:, 0]]


def test_splice_repeats_the_outermost_frame():
    feats = torch.arange(4.0)[:, None]
    spliced = splice(feats, torch.arange(4), torch.tensor(0), torch.tensor(3), range(-1, 3))
    assert spliced.tolist() == [[0, 0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 3], [2, 3, 3, 3]]
    apart = splice(feats, torch.arange(4), torch.tensor(0), torch.tensor(3), range(-2, 3, 2))
    assert apart.tolist() == [[0, 0, 2], [0, 1, 3], [0, 2, 3], [1, 3, 3]]


def test_order_follows_from_seed_and_epoch_alone(frames):
    pieces = frames.pieces(4)
    once, again, later, other = (epoch_order(pieces, 3, *key) for key in ((5, 0), (5, 0), (5, 1), (6, 0)))
    assert all(np.array_equal(a, b) for a, b in zip(once, again))
    for order in (once, later, other):
        assert max(map(len, order)) <= 3
        assert sorted(map(tuple, np.concatenate(order))) == sorted(map(tuple, pieces))
    for order in (later, other):
        assert not all(np.array_equal(a, b) for a, b in zip(once, order))


def test_batches_need_little_padding():
    random = np.random.default_rng(0)
    lengths = random.integers(50, 600, 400)
    made = Frames((f"{i}", np.zeros((n, 1)), np.zeros(n, int), np.zeros(n, int)) for i, n in enumerate(lengths))
    padded = sum(len(rows) * rows[:, 2].max() for rows in epoch_order(made.pieces(1000), 8, 1, 0))
    assert padded < 1.07 * lengths.sum()


def test_evaluation_order_is_complete(frames):
    rows = np.concatenate(list(in_order(frames.pieces(100), 2)))
    assert sorted(rows[:, 0]) == [0, 1, 2, 3, 4]


def test_targets_of_another_length_are_refused():
    with pytest.raises(UserError, match="bad: 5 frames, but 5 tied states and 4 phones"):
        Frames([("bad", np.zeros((5, 2)), np.zeros(5, int), np.zeros(4, int))])
    with pytest.raises(UserError, match="no utterance has"):
        Frames([])
