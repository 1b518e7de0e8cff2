"""MLLT: its statistics against the definition, its update against the objective."""

import numpy as np
import pytest

from frenchpress.common import UserError
from frenchpress.gmm.frame_stats import component_posteriors, second_order_sums
from frenchpress.gmm.mllt import MlltStats, transform_means
from frenchpress.kaldi.gmm import AmGmm, DiagGmm


def toy(rng, dim=3, frames=3000):
    means = 4 * rng.standard_normal((4, dim))
    mix = np.eye(dim) + 0.4 * rng.standard_normal((dim, dim))
    ids = rng.integers(4, size=frames)
    feats = means[ids] + rng.standard_normal((frames, dim)) @ mix.T
    variances = np.stack([feats[ids == i].var(axis=0) for i in range(4)])
    halves = [DiagGmm([0.5, 0.5], means[i : i + 2], variances[i : i + 2]) for i in (0, 2)]
    return AmGmm(halves), ids // 2, feats


def test_statistics_are_scatters_around_the_means():
    am, pdf_ids, feats = toy(np.random.default_rng(0), frames=200)
    stats = MlltStats(3)
    stats.accumulate(feats, pdf_ids, am)
    expected = np.zeros((3, 3, 3))
    for x, pdf in zip(feats, pdf_ids):
        gmm = am.pdfs[pdf]
        for post, mean, var in zip(component_posteriors(gmm, x[None])[0], gmm.means, gmm.vars):
            expected += post * np.outer(x - mean, x - mean)[None] / var[:, None, None]
    assert stats.beta == pytest.approx(200)
    assert np.allclose(stats.G, expected)


def test_estimate_decorrelates_and_gains():
    rng = np.random.default_rng(1)
    am, pdf_ids, feats = toy(rng)
    stats = MlltStats(3)
    stats.accumulate(feats, pdf_ids, am)
    matrix, gain = stats.estimate()
    assert gain > 0.01
    best = stats.objective(matrix)
    assert best == pytest.approx(stats.objective(np.eye(3)) + gain)
    for _ in range(20):
        assert stats.objective(matrix + 1e-2 * rng.standard_normal((3, 3))) < best


def test_parts_add_up():
    am, pdf_ids, feats = toy(np.random.default_rng(2))
    whole, parts = MlltStats(3), MlltStats(3)
    whole.accumulate(feats, pdf_ids, am)
    for half in (slice(0, 1000), slice(1000, None)):
        part = MlltStats(3)
        part.accumulate(feats[half], pdf_ids[half], am)
        parts.add(part)
    assert np.allclose(whole.G, parts.G) and whole.beta == pytest.approx(parts.beta)


def test_means_move_with_the_features():
    rng = np.random.default_rng(3)
    am, _, _ = toy(rng)
    matrix = rng.standard_normal((3, 4))
    moved = transform_means(am, matrix)
    assert np.allclose(moved.pdfs[1].means, am.pdfs[1].means @ matrix[:, :3].T + matrix[:, 3])
    assert np.array_equal(moved.pdfs[0].vars, am.pdfs[0].vars)
    linear = transform_means(am, matrix[:, :3])
    assert np.allclose(linear.pdfs[0].means, am.pdfs[0].means @ matrix[:, :3].T)


def test_no_data_is_said():
    with pytest.raises(UserError, match="no frames"):
        MlltStats(3).estimate()


def test_second_order_sums_over_many_blocks():
    rng = np.random.default_rng(4)
    x, scales = rng.standard_normal((5000, 4)), rng.uniform(size=(5000, 2))
    assert np.allclose(second_order_sums(x, scales), np.einsum("td,ti,tj->dij", scales, x, x))
