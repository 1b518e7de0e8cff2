"""Maximum-likelihood linear transform (global semi-tied covariance) for diagonal-covariance GMMs.

Source: Gales, "Semi-tied covariance matrices for hidden Markov models", IEEE Trans. SAP 7(3), 1999,
with one transform for all Gaussians: row i of M is G_i^-1 c_i sqrt(beta / (c_i' G_i^-1 c_i)), c_i cofactors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.gmm.frame_stats import PdfGroups, second_order_sums
from frenchpress.gmm.rank_one import replace_row
from frenchpress.kaldi.gmm import AmGmm, DiagGmm

Array = NDArray[np.float64]


class MlltStats:
    """G_d = sum over Gaussians i of S_i / var_id, S_i the full scatter of the frames of i around its mean.

    `beta` is the frame count, `G` [D, D, D] has one symmetric matrix per dimension.
    """

    def __init__(self, dim: int) -> None:
        self.beta = 0.0
        self.G = np.zeros((dim, dim, dim))

    def accumulate(self, feats: NDArray, pdf_ids: NDArray, am: AmGmm, weights: NDArray | None = None) -> None:
        """Add frames `feats` [T, D] aligned to `pdf_ids` [T] (frame weights [T], default 1).

        Best called with many utterances at a time (tens of thousands of frames): the cost besides two matrix
        products is one step per distinct pdf in the call.
        """
        x = np.asarray(feats, np.float64)
        precision = np.zeros_like(x)
        for gmm, rows, posts in PdfGroups(x, pdf_ids, am, weights):
            inv_vars = 1.0 / np.asarray(gmm.vars, np.float64)
            precision[rows] = posts @ inv_vars
            self.G += _mean_terms(gmm, inv_vars, posts.sum(axis=0), posts.T @ x[rows])
            self.beta += posts.sum()
        self.G += second_order_sums(x, precision)

    def add(self, other: MlltStats) -> None:
        """Add the statistics of another part of the data."""
        self.beta += other.beta
        self.G += other.G

    def estimate(self, num_iters: int = 200) -> tuple[Array, float]:
        """M [D, D], for features and (`transform_means`) model means, and the gain per frame in nats."""
        if self.beta <= 0:
            raise UserError("MLLT: no frames were accumulated; are the alignments of this data empty?")
        dim = len(self.G)
        try:
            inverse = np.linalg.inv(self.G)
        except np.linalg.LinAlgError:
            raise UserError(f"MLLT: {self.beta:.0f} frames are too few for {dim} dimensions") from None
        matrix = np.eye(dim)
        before = self.objective(matrix)
        for _ in range(num_iters):
            linear = np.linalg.inv(matrix)
            for d in range(dim):
                cofactors = linear[:, d]
                row = inverse[d] @ cofactors
                row *= np.sqrt(self.beta / (cofactors @ row))
                replace_row(linear, d, row - matrix[d])
                matrix[d] = row
        return matrix, self.objective(matrix) - before

    def objective(self, matrix: Array) -> float:
        """Auxiliary function per frame at M: log|det M| - 1/(2 beta) sum_d m_d' G_d m_d."""
        quadratic = np.einsum("di,dij,dj->", matrix, self.G, matrix, optimize=True)
        return float(np.linalg.slogdet(matrix)[1] - 0.5 * quadratic / self.beta)


def _mean_terms(gmm: DiagGmm, inv_vars: Array, occupancy: Array, sums: Array) -> Array:
    """Turns sums of x x' into scatters around the means: [D, D, D], weighted by each inverse variance."""
    means = np.asarray(gmm.means, np.float64)
    dim = means.shape[1]
    # Per Gaussian: occ mu mu' - s mu' - mu s'
    pull = (occupancy[:, None] * means / 2 - sums)[:, :, None] * means[:, None, :]
    pull = (pull + pull.transpose(0, 2, 1)).reshape(len(means), dim * dim)
    return (inv_vars.T @ pull).reshape(dim, dim, dim)


def transform_means(am: AmGmm, matrix: NDArray) -> AmGmm:
    """The model with every mean mapped by M [D, D] (or affine [D, D + 1]); weights and variances stay."""
    matrix = np.asarray(matrix, np.float64)
    gmms = []
    for gmm in am.pdfs:
        means = np.asarray(gmm.means, np.float64)
        moved = means @ matrix[:, : means.shape[1]].T
        if matrix.shape[1] > means.shape[1]:
            moved = moved + matrix[:, -1]
        gmms.append(DiagGmm(weights=gmm.weights, means=moved, vars=gmm.vars))
    return AmGmm(gmms)
