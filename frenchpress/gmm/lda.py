"""Linear discriminant analysis over tied states: spliced frames to a few decorrelated dimensions.

Source: Haeb-Umbach and Ney, "Linear discriminant analysis for improved large vocabulary continuous speech
recognition", ICASSP 1992.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError

Array = NDArray[np.float64]


class LdaStats:
    """Counts and sums per class, and the second-order sum over all frames: all that LDA needs of the data."""

    def __init__(self, num_classes: int, dim: int) -> None:
        self.counts = np.zeros(num_classes)
        self.sums = np.zeros((num_classes, dim))
        self.second = np.zeros((dim, dim))

    def accumulate(self, feats: NDArray, class_ids: NDArray, weights: NDArray | None = None) -> None:
        """Add frames `feats` [T, D] of classes `class_ids` [T], ints below num_classes; weight 1 if none."""
        x = np.asarray(feats, np.float64)
        w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
        used, local = np.unique(class_ids, return_inverse=True)
        # One row per class that occurs: summing is then a product with a small indicator matrix.
        order = np.argsort(local, kind="stable")
        starts = np.searchsorted(local[order], np.arange(len(used)))
        if len(x):
            weighted = x if weights is None else x * w[:, None]
            self.counts[used] += np.add.reduceat(w[order], starts)
            self.sums[used] += np.add.reduceat(weighted[order], starts, axis=0)
            self.second += weighted.T @ x

    def add(self, other: LdaStats) -> None:
        """Add the statistics of another part of the data."""
        self.counts += other.counts
        self.sums += other.sums
        self.second += other.second

    def covariances(self) -> tuple[Array, Array]:
        """Within-class and between-class covariance, each [D, D]; they sum to the total covariance."""
        total = self.counts.sum()
        if total <= 0:
            raise UserError("LDA: no frames were accumulated; are the alignments of this data empty?")
        mean = self.sums.sum(axis=0) / total
        seen = self.counts > 0
        class_means = self.sums[seen] / self.counts[seen, None]
        between = (class_means * (self.counts[seen, None] / total)).T @ class_means - np.outer(mean, mean)
        within = self.second / total - np.outer(mean, mean) - between
        return (within + within.T) / 2, (between + between.T) / 2

    def estimate(self, out_dim: int = 40, within_class_factor: float = 1.0) -> tuple[Array, Array]:
        """The transform [out_dim, D] and, for later use of the rejected directions, the full one [D, D].

        In the transformed space the within-class covariance is the identity (scaled as below) and the
        between-class covariance diagonal, in falling order. A `within_class_factor` other than 1 rescales
        each row so that a direction of between-class variance b has total variance within_class_factor + b
        instead of 1 + b: below 1 it damps the directions that discriminate little.
        """
        within, between = self.covariances()
        if not 0 < out_dim <= len(within):
            raise UserError(f"LDA: {out_dim} output dimensions asked for, features have {len(within)}")
        try:
            whiten = np.linalg.inv(np.linalg.cholesky(within))
        except np.linalg.LinAlgError:
            raise UserError(
                f"LDA: within-class covariance of {self.counts.sum():.0f} frames is singular: too little "
                f"data for {len(within)} dimensions, or a constant feature"
            ) from None
        values, vectors = np.linalg.eigh(whiten @ between @ whiten.T)
        order = np.argsort(-values, kind="stable")
        values = np.maximum(values[order], 0.0)
        full = _fixed_signs(vectors[:, order]).T @ whiten
        if within_class_factor != 1.0:
            full *= np.sqrt((within_class_factor + values) / (1.0 + values))[:, None]
        return full[:out_dim].copy(), full


def _fixed_signs(vectors: Array) -> Array:
    """Columns with their largest entry made positive: the sign of an eigenvector is the library's whim."""
    peaks = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    return vectors * np.where(peaks < 0, -1.0, 1.0)
