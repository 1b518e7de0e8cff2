import numpy as np
import pytest

from frenchpress.gmm.em import PdfFrames, accumulate, mix_up, split_targets, update
from frenchpress.gmm.gmms import GmmSet
from frenchpress.gmm.loglikes import LogLikes


def random_gmms(rng, sizes, dim):
    parts = []
    for size in sizes:
        weights = rng.random(size) + 0.1
        parts.append((weights / weights.sum(), rng.normal(size=(size, dim)), rng.random((size, dim)) + 0.5))
    return GmmSet.pack(parts)


def plain_loglikes(part, x):
    """log(weight * density) [T, M], term by term."""
    weights, means, variances = part
    found = np.empty((len(x), len(weights)))
    for t, frame in enumerate(x):
        for m in range(len(weights)):
            terms = np.log(2 * np.pi * variances[m]) + (frame - means[m]) ** 2 / variances[m]
            found[t, m] = np.log(weights[m]) - 0.5 * terms.sum()
    return found


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_log_likelihoods_equal_the_plain_sum(rng):
    gmms = random_gmms(rng, [3, 1, 5], 4)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    expected = np.stack([np.log(np.exp(plain_loglikes(gmms.part(p), x)).sum(1)) for p in range(3)], 1)
    np.testing.assert_allclose(LogLikes(gmms)(x).numpy(), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(LogLikes(gmms)(x, np.array([2, 0])).numpy(), expected[:, [2, 0]], rtol=1e-4, atol=1e-4)


def test_a_frame_far_from_everything_keeps_a_finite_score(rng):
    scores = LogLikes(random_gmms(rng, [2, 4], 3))(np.full((1, 3), 1e4, np.float32)).numpy()
    assert np.isfinite(scores).all()


def test_statistics_and_update_equal_a_plain_reference(rng):
    gmms = random_gmms(rng, [2, 3], 3)
    pdfs = rng.integers(-1, 2, 400)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    stats = accumulate(gmms, x, PdfFrames.sort(pdfs, 2))
    new = update(gmms, stats)
    total = 0.0
    for p in range(2):
        frames = x[pdfs == p].astype(np.float64)
        logs = plain_loglikes(gmms.part(p), frames)
        total += np.log(np.exp(logs).sum(1)).sum()
        posts = np.exp(logs) / np.exp(logs).sum(1, keepdims=True)
        occupancy = posts.sum(0)
        means = posts.T @ frames / occupancy[:, None]
        variances = posts.T @ frames**2 / occupancy[:, None] - means**2
        weights, new_means, new_vars = new.part(p)
        np.testing.assert_allclose(weights, occupancy / len(frames), rtol=1e-6)
        np.testing.assert_allclose(new_means, means, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(new_vars, variances, rtol=1e-5)
    assert stats.loglike == pytest.approx(total, rel=1e-6)
    assert stats.frames == (pdfs >= 0).sum()


def test_an_update_never_loses_likelihood(rng):
    gmms = random_gmms(rng, [4, 4], 2)
    pdfs = rng.integers(0, 2, 2000)
    x = (rng.normal(size=(2000, 2)) + 3 * rng.integers(0, 3, (2000, 1))).astype(np.float32)
    frames = PdfFrames.sort(pdfs, 2)
    history = []
    for _ in range(6):
        stats = accumulate(gmms, x, frames)
        history.append(stats.loglike)
        gmms = update(gmms, stats)
    assert all(after >= before - 1e-6 for before, after in zip(history, history[1:]))
    assert history[-1] > history[0] + 10


def test_threads_do_not_change_a_bit(rng):
    gmms = random_gmms(rng, [3] * 8, 5)
    x = rng.normal(size=(20_000, 5)).astype(np.float32)
    frames = PdfFrames.sort(rng.integers(0, 8, len(x)), 8)
    one, three = (accumulate(gmms, x, frames, threads) for threads in (1, 3))
    assert (one.sums == three.sums).all() and (one.squares == three.squares).all() and one.loglike == three.loglike


def test_starved_gaussians_go_but_never_the_last_of_a_pdf(rng):
    far = np.array([[0.0, 0.0], [1e3, 1e3]])
    gmms = GmmSet.pack([(np.array([0.5, 0.5]), far, np.ones((2, 2))), (np.ones(1), far[1:], np.ones((1, 2)))])
    x = rng.normal(size=(50, 2)).astype(np.float32)
    stats = accumulate(gmms, x, PdfFrames.sort(np.zeros(50, int), 2))
    new = update(gmms, stats)
    assert np.diff(new.offsets).tolist() == [1, 1]
    assert new.part(0)[0].tolist() == [1.0]
    np.testing.assert_array_equal(new.part(1)[1], far[1:])
    assert update(gmms, stats, remove=False).num_gauss == 3


def test_variances_are_floored():
    gmms = GmmSet.pack([(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)))])
    stats = accumulate(gmms, np.ones((40, 2), np.float32), PdfFrames.sort(np.zeros(40, int), 1))
    assert (update(gmms, stats).vars == 1e-3).all()


def test_moments_of_other_features_with_these_posteriors(rng):
    gmms = random_gmms(rng, [2], 2)
    x = rng.normal(size=(200, 2)).astype(np.float32)
    frames = PdfFrames.sort(np.zeros(200, int), 1)
    other = update(gmms, accumulate(gmms, x, frames, stats_feats=x + 1), remove=False)
    same = update(gmms, accumulate(gmms, x, frames), remove=False)
    np.testing.assert_allclose(other.means, same.means + 1, rtol=1e-5)
    np.testing.assert_allclose(other.vars, same.vars, rtol=1e-4)


def test_gaussians_are_shared_out_by_the_power_of_the_counts():
    assert split_targets(np.array([1e6, 1e6, 0.0]), 9, 0.5).tolist() == [4, 4, 1]
    assert split_targets(np.array([16e4, 1e4]), 10, 0.5).tolist() == [8, 2]
    # Twenty frames each at least, even if fewer Gaussians than asked for come out.
    assert split_targets(np.array([100.0, 100.0]), 50, 0.25).tolist() == [4, 4]


def test_splitting_keeps_weight_and_mean(rng):
    gmms = random_gmms(rng, [1, 2], 3)
    grown = mix_up(gmms, np.array([1e5, 1e5]), 8, 0.25, seed=3)
    assert grown.num_gauss == 8
    for p in range(2):
        assert grown.part(p)[0].sum() == pytest.approx(1.0)
        before, after = (g.part(p)[0] @ g.part(p)[1] for g in (gmms, grown))
        np.testing.assert_allclose(before, after, rtol=1e-12)
    again = mix_up(gmms, np.array([1e5, 1e5]), 8, 0.25, seed=3)
    np.testing.assert_array_equal(grown.means, again.means)
