"""Log-likelihoods of frames under mixtures, for alignment and decoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchpress.gmm.gmms import GmmSet

if TYPE_CHECKING:
    import torch

_FRAMES_AT_ONCE = 256  # so that the scores of an utterance's Gaussians stay in the processor's cache


class LogLikes:
    """Log-likelihoods of frames under some or all pdfs, in float32.

    The Gaussians asked for are laid out as slabs: the first Gaussian of every pdf, then the second of every pdf
    that has one, and so on, the pdf with most Gaussians first. Sums over a mixture are then sums of whole slabs.
    """

    def __init__(self, gmms: GmmSet) -> None:
        import torch  # here, so that a stage that is done says so without the seconds that this takes

        coefficients, constants = gmms.linear_form()
        self._coefficients = torch.from_numpy(coefficients).float()
        self._constants = torch.from_numpy(constants).float()
        self._offsets = gmms.offsets

    def __call__(self, feats: NDArray[np.float32], pdfs: NDArray[np.integer] | None = None) -> torch.Tensor:
        """Log-likelihoods [T, len(pdfs)] (all pdfs by default) of `feats` [T, D], natural logarithm."""
        import torch

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
    import torch

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
