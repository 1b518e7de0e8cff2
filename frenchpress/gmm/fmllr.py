"""Feature-space MLLR: one affine transform per speaker that moves the features towards a diagonal-GMM model.

Source: Gales, "Maximum likelihood linear transformations for HMM-based speech recognition", Computer Speech
and Language 12, 1998, constrained model-space transform: rows are updated in turn, each in closed form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.gmm.frame_stats import PdfGroups, second_order_sums
from frenchpress.gmm.rank_one import replace_row
from frenchpress.kaldi.gmm import AmGmm

Array = NDArray[np.float64]
_FRAMES_AT_ONCE = 50_000


@dataclass
class FrameTargets:
    """What each frame pulls towards: per dimension the expected precision, and that times the expected mean.

    `precision` and `precision_mean` are [T, D], `occupancy` [T] is the frame's weight.
    """

    precision: Array
    precision_mean: Array
    occupancy: Array


def frame_targets(
    feats: NDArray,
    pdf_ids: NDArray,
    am: AmGmm,
    weights: NDArray | None = None,
    posterior_am: AmGmm | None = None,
    posterior_feats: NDArray | None = None,
) -> FrameTargets:
    """Posterior-weighted precisions and means of the Gaussians that frames `feats` [T, D] are aligned to.

    `pdf_ids` [T] are tied states, `weights` [T] frame weights (default 1; silence usually 0). Gaussian
    posteriors come from `posterior_am` on `posterior_feats` where given. Many utterances at once cost least.
    """
    x = np.asarray(feats, np.float64)
    judged = None if posterior_feats is None else np.asarray(posterior_feats, np.float64)
    out = FrameTargets(np.zeros_like(x), np.zeros_like(x), np.zeros(len(x)))
    for gmm, rows, posts in PdfGroups(x, pdf_ids, am, weights, posterior_am, judged):
        inv_vars = 1.0 / np.asarray(gmm.vars, np.float64)
        out.precision[rows] = posts @ inv_vars
        out.precision_mean[rows] = posts @ (inv_vars * gmm.means)
        out.occupancy[rows] = posts.sum(axis=1)
    return out


class FmllrStats:
    """Sufficient statistics of one speaker: frame count `beta`, `K` [D, D+1] and `G` [D, D+1, D+1]."""

    def __init__(self, dim: int) -> None:
        self.beta = 0.0
        self.K = np.zeros((dim, dim + 1))
        self.G = np.zeros((dim, dim + 1, dim + 1))

    def accumulate(
        self,
        feats: NDArray,
        pdf_ids: NDArray,
        am: AmGmm,
        weights: NDArray | None = None,
        posterior_am: AmGmm | None = None,
    ) -> None:
        """Add frames [T, D] aligned to tied states [T]: see `frame_targets`."""
        self.accumulate_targets(feats, frame_targets(feats, pdf_ids, am, weights, posterior_am))

    def accumulate_targets(self, feats: NDArray, targets: FrameTargets) -> None:
        """Add frames [T, D] whose targets are already known."""
        x = np.asarray(feats, np.float64)
        extended = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        self.beta += float(targets.occupancy.sum())
        self.K += targets.precision_mean.T @ extended
        self.G += second_order_sums(extended, targets.precision)

    def add(self, other: FmllrStats) -> None:
        """Add the statistics of another part of the speaker's data."""
        self.beta += other.beta
        self.K += other.K
        self.G += other.G

    def objective(self, transform: Array) -> float:
        """Auxiliary function, whole, at W [D, D+1]: beta log|det A| + sum_d (w_d k_d - w_d G_d w_d / 2)."""
        quadratic = np.einsum("di,dij,dj->", transform, self.G, transform, optimize=True)
        logdet = np.linalg.slogdet(transform[:, :-1])[1]
        return float(self.beta * logdet + (transform * self.K).sum() - 0.5 * quadratic)


def estimate(stats: FmllrStats, num_iters: int = 40, min_count: float = 500.0) -> tuple[Array, float]:
    """W = [A b], float64 [D, D+1], and the gain of the auxiliary function per frame in nats.

    Below `min_count` frames, or when nothing is gained, the identity and 0.
    """
    dim = len(stats.K)
    identity = np.eye(dim, dim + 1)
    if stats.beta < min_count:
        return identity, 0.0
    transform = identity.copy()
    inverse = np.linalg.inv(stats.G)
    before = stats.objective(transform)
    for _ in range(num_iters):
        linear = np.linalg.inv(transform[:, :-1])
        for d in range(dim):
            row = _best_row(linear[:, d], d, inverse[d], stats)
            replace_row(linear, d, row[:-1] - transform[d, :-1])
            transform[d] = row
    gain = stats.objective(transform) - before
    if not gain > 0:
        return identity, 0.0
    return transform, gain / stats.beta


def _best_row(cofactors: Array, d: int, inverse: Array, stats: FmllrStats) -> Array:
    """Row d that maximises the auxiliary function with the others held: (alpha c + k) G^-1, c `cofactors` [D].

    alpha solves a quadratic; of its two roots the one with the higher auxiliary function is taken.
    """
    cofactors = np.append(cofactors, 0.0)
    projected = inverse @ cofactors
    square, cross = cofactors @ projected, stats.K[d] @ projected
    root = np.sqrt(cross * cross + 4.0 * square * stats.beta)
    alphas = np.array([-cross + root, -cross - root]) / (2.0 * square)
    values = stats.beta * np.log(np.abs(alphas * square + cross)) - 0.5 * alphas**2 * square
    return inverse @ (alphas[values.argmax()] * cofactors + stats.K[d])


def estimate_speakers(
    utterances: Iterable[tuple[str, NDArray, NDArray, NDArray | None]],
    am: AmGmm,
    posterior_am: AmGmm | None = None,
    min_count: float = 500.0,
) -> dict[str, tuple[Array, float, float]]:
    """Per speaker: transform [D, D+1], gain per frame in nats, frame count.

    `utterances` yields (speaker, feats [T, D], pdf_ids [T], weights [T] or None) in any order; they are
    worked on in batches, so that the cost does not grow with the number of speakers.
    """
    stats: dict[str, FmllrStats] = {}
    batch: list[tuple[str, NDArray, NDArray, NDArray | None]] = []
    pending = 0
    for utterance in utterances:
        batch.append(utterance)
        pending += len(utterance[1])
        if pending >= _FRAMES_AT_ONCE:
            _accumulate_batch(stats, batch, am, posterior_am)
            batch, pending = [], 0
    if batch:
        _accumulate_batch(stats, batch, am, posterior_am)
    return {spk: (*estimate(stats[spk], min_count=min_count), stats[spk].beta) for spk in sorted(stats)}


def _accumulate_batch(
    stats: dict[str, FmllrStats],
    batch: list[tuple[str, NDArray, NDArray, NDArray | None]],
    am: AmGmm,
    posterior_am: AmGmm | None,
) -> None:
    """One pass over the pdfs for the frames of all its speakers, then each speaker's own products."""
    batch = sorted(batch, key=lambda utterance: utterance[0])
    feats = np.concatenate([np.asarray(u[1], np.float64) for u in batch])
    pdf_ids = np.concatenate([u[2] for u in batch])
    weights = np.concatenate([np.ones(len(u[1])) if u[3] is None else u[3] for u in batch])
    targets = frame_targets(feats, pdf_ids, am, weights, posterior_am)
    speaker = np.repeat([u[0] for u in batch], [len(u[1]) for u in batch])
    for spk in dict.fromkeys(u[0] for u in batch):
        rows = np.flatnonzero((speaker == spk) & (weights != 0))
        part = FrameTargets(targets.precision[rows], targets.precision_mean[rows], targets.occupancy[rows])
        stats.setdefault(spk, FmllrStats(feats.shape[1])).accumulate_targets(feats[rows], part)


def apply_affine(feats: NDArray, transform: NDArray) -> NDArray[np.float32]:
    """Frames [T, D] through A [E, D] or [A b] [E, D+1]: float32 [T, E]."""
    dim = feats.shape[1]
    if transform.shape[1] not in (dim, dim + 1):
        raise ValueError(f"transform {transform.shape} does not fit features of {dim} dimensions")
    out = np.asarray(feats, np.float64) @ np.asarray(transform[:, :dim], np.float64).T
    if transform.shape[1] == dim + 1:
        out += transform[:, -1]
    return out.astype(np.float32)


def compose_affine(after: NDArray, before: NDArray) -> Array:
    """The one affine transform [D, D+1] that does `before` [D, D+1] and then `after` [D, D+1]."""
    after, before = np.asarray(after, np.float64), np.asarray(before, np.float64)
    composed = after[:, :-1] @ before
    composed[:, -1] += after[:, -1]
    return composed
