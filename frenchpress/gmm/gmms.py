"""All Gaussians of all tied states in one block, the form in which training computes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from frenchpress.kaldi.gmm import AmGmm, DiagGmm

Array = NDArray[np.float64]
_FRAMES_AT_ONCE = 256  # so that the scores of an utterance's Gaussians stay in the processor's cache


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


class LogLikes:
    """Log-likelihoods of frames under some or all pdfs, in float32.

    The Gaussians asked for are laid out as slabs: the first Gaussian of every pdf, then the second of every pdf
    that has one, and so on, the pdf with most Gaussians first. Sums over a mixture are then sums of whole slabs.
    """

    def __init__(self, gmms: GmmSet) -> None:
        coefficients, constants = gmms.linear_form()
        self._coefficients = torch.from_numpy(coefficients).float()
        self._constants = torch.from_numpy(constants).float()
        self._offsets = gmms.offsets

    def __call__(self, feats: NDArray[np.float32], pdfs: NDArray[np.integer] | None = None) -> torch.Tensor:
        """Log-likelihoods [T, len(pdfs)] (all pdfs by default) of `feats` [T, D], natural logarithm."""
        chosen = np.arange(len(self._offsets) - 1) if pdfs is None else np.asarray(pdfs)
        sizes = self._offsets[chosen + 1] - self._offsets[chosen]
        order = np.argsort(-sizes, kind="stable")
        first, sizes = self._offsets[chosen[order]], sizes[order]
        widths = [int(np.count_nonzero(sizes > k)) for k in range(int(sizes[0]))]
        rows = torch.from_numpy(np.concatenate([first[:width] + k for k, width in enumerate(widths)]))
        coefficients, constants = self._coefficients[rows], self._constants[rows, None]
        x = torch.from_numpy(np.require(feats, np.float32, ["C", "W"]))
        found = torch.empty(len(chosen), len(x))
        back = torch.from_numpy(order)
        for begin in range(0, len(x), _FRAMES_AT_ONCE):
            part = x[begin : begin + _FRAMES_AT_ONCE]
            scores = torch.addmm(constants, coefficients, torch.cat([part, part * part], dim=1).T)
            found[back, begin : begin + _FRAMES_AT_ONCE] = _log_sum_slabs(scores, widths)
        return found.T.contiguous()


def _log_sum_slabs(scores: torch.Tensor, widths: list[int]) -> torch.Tensor:
    """log sum exp over slabs: row r of each of them belongs to the r-th mixture. Overwrites `scores`."""
    slabs = list(zip(widths, scores.split(widths)))
    total = slabs[0][1]
    peak = total.clone()
    for width, slab in slabs[1:]:
        top = peak[:width]
        torch.maximum(top, slab, out=top)
    for width, slab in slabs:
        slab.sub_(peak[:width])
    scores.exp_()
    for width, slab in slabs[1:]:
        total[:width].add_(slab)
    return total.log_().add_(peak)
