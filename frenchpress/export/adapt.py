"""fMLLR of an unknown speaker while they speak, from what the search itself recognises.

The best path says of which phone each frame is; one Gaussian per phone says where frames of that phone lie in the
features of training. From these comes the affine transform W that moves the speaker's features there, by the formulas
of `gmm.fmllr` (Gales 1998). A second of speech is too little for its numbers, so `PRIOR_FRAMES` frames drawn from the
phones' own Gaussians are counted as if they had been heard: their statistics are known in closed form, and with nothing
else W is the identity.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np
from numpy.typing import NDArray

from frenchpress.gmm.fmllr import FmllrStats, FrameTargets, apply_affine, estimate
from frenchpress.packed.model import PackedFront

PRIOR_FRAMES = 200.0
FIRST, RATIO = 50, 1.5
"""Frames of speech before the first estimate, and how many times as many before the next; each takes a while."""

_ITERATIONS = 10
Floats = NDArray[np.float64]


class Adapter:
    """The transform in force, and the statistics that the next one is made of.

    A `transform` [D, D + 1] that is given stays; `fixed` keeps the identity, and so does a front end without
    phones of speech.
    """

    def __init__(self, front: PackedFront, transform: Floats | None = None, fixed: bool = False) -> None:
        dim = len(front.matrix)
        self.transform = np.eye(dim, dim + 1) if transform is None else np.asarray(transform, np.float64)
        self._precision = 1.0 / front.variances.astype(np.float64)
        self._means, self._speech = front.means.astype(np.float64), front.weight > 0
        self._fixed = fixed or transform is not None or not self._speech.any()
        self._heard, self._next = 0, FIRST
        if not self._fixed:
            self._stats = prior_stats(front)

    def apply(self, feats: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features [n, D] through the transform in force."""
        return apply_affine(feats, self.transform)

    def hear(self, feats: NDArray[np.float32], phones: NDArray[np.int32], over: bool) -> None:
        """All frames of the utterance so far, before the transform [T, D], and the phone of each [T] as it now seems.

        The transform is estimated when there is enough more speech than last time. `over`: the utterance is, and
        counts from now on.
        """
        if self._fixed:
            return
        speech = self._speech[phones]
        heard = self._heard + int(speech.sum())
        if not (over or heard >= self._next):
            return
        stats = deepcopy(self._stats)
        feats, precision = feats[speech], self._precision[phones[speech]]
        pull = precision * self._means[phones[speech]]
        stats.accumulate_targets(feats, FrameTargets(precision, pull, np.ones(len(feats))))
        if heard >= self._next:
            self._next = int(RATIO * heard)
            self.transform, _ = estimate(stats, _ITERATIONS, min_count=0.0)
        if over:
            self._stats, self._heard = stats, heard

    def settled(self) -> Floats:
        """The transform [D, D + 1] from all utterances that are over."""
        return self.transform if self._fixed else estimate(self._stats, _ITERATIONS, min_count=0.0)[0]


def prior_stats(front: PackedFront) -> FmllrStats:
    """Statistics of PRIOR_FRAMES frames drawn from the phones' Gaussians; the identity is their best transform."""
    means, variances = front.means.astype(np.float64), front.variances.astype(np.float64)
    share = front.weight.astype(np.float64)[:, None]
    pull = PRIOR_FRAMES * share / share.sum() / variances
    extended = np.concatenate([means, np.ones((len(means), 1))], axis=1)
    dim = means.shape[1]
    stats = FmllrStats(dim)
    stats.beta = PRIOR_FRAMES
    stats.K = (pull * means).T @ extended
    stats.G = np.einsum("pd,pi,pj->dij", pull, extended, extended, optimize=True)
    within = np.arange(dim)
    stats.G[:, within, within] += pull.T @ variances
    return stats
