"""LDA: what the transform promises about the covariances."""

import numpy as np
import pytest

from frenchpress.common import UserError
from frenchpress.gmm.lda import LdaStats


def data(rng, classes=5, dim=6, frames=4000):
    centres = rng.standard_normal((classes, dim)) * np.array([3, 2, 1, 0.5, 0.1, 0.0])
    ids = rng.integers(classes, size=frames)
    return centres[ids] + rng.standard_normal((frames, dim)) @ rng.standard_normal((dim, dim)), ids


def test_whitens_within_and_diagonalises_between():
    feats, ids = data(np.random.default_rng(0))
    stats = LdaStats(7, 6)  # two classes never occur
    stats.accumulate(feats, ids)
    lda, full = stats.estimate(3)
    within, between = stats.covariances()
    assert lda.shape == (3, 6) and np.array_equal(lda, full[:3])
    assert np.allclose(full @ within @ full.T, np.eye(6), atol=1e-8)
    spread = full @ between @ full.T
    assert np.allclose(spread, np.diag(np.diag(spread)), atol=1e-8)
    assert (np.diff(np.diag(spread)) <= 1e-9).all()


def test_covariances_match_their_definition():
    feats, ids = data(np.random.default_rng(1), frames=500)
    stats = LdaStats(5, 6)
    stats.accumulate(feats[:200], ids[:200])
    other = LdaStats(5, 6)
    other.accumulate(feats[200:], ids[200:])
    stats.add(other)
    within, between = stats.covariances()
    means = np.stack([feats[ids == c].mean(axis=0) for c in range(5)])
    assert np.allclose(within, np.cov((feats - means[ids]).T, bias=True))
    assert np.allclose(within + between, np.cov(feats.T, bias=True))


def test_weights_count_as_repeats():
    feats, ids = data(np.random.default_rng(2), frames=300)
    repeats = np.random.default_rng(3).integers(0, 3, size=300)
    weighted, repeated = LdaStats(5, 6), LdaStats(5, 6)
    weighted.accumulate(feats, ids, repeats)
    repeated.accumulate(np.repeat(feats, repeats, axis=0), np.repeat(ids, repeats))
    assert np.allclose(weighted.sums, repeated.sums) and np.allclose(weighted.second, repeated.second)


def test_within_class_factor_damps_useless_directions():
    feats, ids = data(np.random.default_rng(4))
    stats = LdaStats(5, 6)
    stats.accumulate(feats, ids)
    plain, damped = stats.estimate(6)[1], stats.estimate(6, within_class_factor=0.25)[1]
    between = np.diag(plain @ stats.covariances()[1] @ plain.T)
    totals = np.diag(damped @ sum(stats.covariances()) @ damped.T)
    assert np.allclose(totals, 0.25 + between, atol=1e-6)


def test_says_what_is_wrong():
    with pytest.raises(UserError, match="no frames"):
        LdaStats(3, 4).estimate(2)
    stats = LdaStats(3, 4)
    stats.accumulate(np.ones((3, 4)), np.array([0, 1, 2]))
    with pytest.raises(UserError, match="singular"):
        stats.estimate(2)
    with pytest.raises(UserError, match="5 output dimensions"):
        stats.estimate(5)
