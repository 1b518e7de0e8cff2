"""All Gaussians of all tied states in one block, the form in which training computes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.kaldi.gmm import AmGmm, DiagGmm

Array = NDArray[np.float64]


@dataclass
class GmmSet:
    """Diagonal-covariance mixtures: those of pdf p are rows offsets[p] to offsets[p + 1].

    offsets int64 [P + 1]; weights [G], means [G, D], vars [G, D] float64.
    """

    offsets: NDArray[np.int64]
    weights: Array
    means: Array
    vars: Array

    @classmethod
    def pack(cls, parts: list[tuple[Array, Array, Array]]) -> GmmSet:
        """From (weights, means, vars) of each pdf in turn."""
        sizes = [len(weights) for weights, _, _ in parts]
        return cls(
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            *(np.concatenate([np.asarray(part[k], np.float64) for part in parts]) for k in range(3)),
        )

    @classmethod
    def from_am(cls, am: AmGmm) -> GmmSet:
        """From the form in which models are stored."""
        return cls.pack([(g.weights, g.means, g.vars) for g in am.pdfs])

    def to_am(self) -> AmGmm:
        """To the form in which models are stored."""
        return AmGmm([DiagGmm(*self.part(p)) for p in range(self.num_pdfs)])

    def part(self, pdf: int) -> tuple[Array, Array, Array]:
        """Weights, means and variances of one pdf (views)."""
        rows = slice(self.offsets[pdf], self.offsets[pdf + 1])
        return self.weights[rows], self.means[rows], self.vars[rows]

    def parts(self) -> list[tuple[Array, Array, Array]]:
        """`part` of every pdf."""
        return [self.part(p) for p in range(self.num_pdfs)]

    @property
    def num_pdfs(self) -> int:
        """Number of tied states."""
        return len(self.offsets) - 1

    @property
    def num_gauss(self) -> int:
        """Number of Gaussians over all tied states."""
        return len(self.weights)

    @property
    def dim(self) -> int:
        """Feature dimension."""
        return self.means.shape[1]

    def linear_form(self) -> tuple[Array, Array]:
        """Coefficients [G, 2D] and constants [G] of log(weight * density) as linear in [x, x^2]."""
        precision = 1.0 / self.vars
        scaled = self.means * precision
        constants = np.log(self.weights) - 0.5 * (
            self.dim * np.log(2 * np.pi) + np.log(self.vars).sum(1) + (self.means * scaled).sum(1)
        )
        return np.concatenate([scaled, -0.5 * precision], axis=1), constants
