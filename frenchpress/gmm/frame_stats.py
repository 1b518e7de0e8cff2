"""Gaussian posteriors of aligned frames, one step per tied state, and the matrix products on top of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from frenchpress.kaldi.gmm import AmGmm, DiagGmm

Array = NDArray[np.float64]
_CHUNK = 2048  # frames per block of second-order products: the block stays in the processor's cache


class PdfGroups:
    """Iterates over the pdfs that occur: (its GMM, rows [n] of the frames aligned to it, posteriors [n, M]).

    Posteriors of a frame sum to its weight (default 1); frames of weight 0 are left out. With `posterior_am`
    they are computed with that model, of the same shape, on `posterior_feats` (default: the same frames): the
    speaker-independent model of speaker-adaptive training.
    """

    def __init__(
        self,
        feats: Array,
        pdf_ids: NDArray,
        am: AmGmm,
        weights: NDArray | None = None,
        posterior_am: AmGmm | None = None,
        posterior_feats: Array | None = None,
    ) -> None:
        if len(feats) != len(pdf_ids):
            raise ValueError(f"{len(feats)} frames but {len(pdf_ids)} aligned states")
        self._feats = feats if posterior_feats is None else posterior_feats
        self._pdfs = np.asarray(pdf_ids)
        self._am = am
        self._judge = posterior_am or am
        self._weights = None if weights is None else np.asarray(weights, np.float64)

    def __iter__(self) -> Iterator[tuple[DiagGmm, NDArray, Array]]:
        keep = np.arange(len(self._pdfs)) if self._weights is None else np.flatnonzero(self._weights)
        order = keep[np.argsort(self._pdfs[keep], kind="stable")]
        pdfs, starts = np.unique(self._pdfs[order], return_index=True)
        for pdf, rows in zip(pdfs, np.split(order, starts[1:])):
            posts = component_posteriors(self._judge.pdfs[pdf], self._feats[rows])
            if self._weights is not None:
                posts *= self._weights[rows, None]
            yield self._am.pdfs[pdf], rows, posts


def component_posteriors(gmm: DiagGmm, x: Array) -> Array:
    """Posterior of each Gaussian of one GMM: frames [n, D] to [n, M], rows summing to 1."""
    means, inv_vars = np.asarray(gmm.means, np.float64), 1.0 / np.asarray(gmm.vars, np.float64)
    const = np.log(np.asarray(gmm.weights, np.float64)) + 0.5 * np.log(inv_vars).sum(axis=1)
    const -= 0.5 * (means * means * inv_vars).sum(axis=1)
    logs = const + x @ (means * inv_vars).T - 0.5 * (x * x) @ inv_vars.T
    logs -= logs.max(axis=1, keepdims=True)
    np.exp(logs, out=logs)
    logs /= logs.sum(axis=1, keepdims=True)
    return logs


def second_order_sums(x: Array, scales: Array) -> Array:
    """Sums over frames of scales[t, d] * x_t x_t', for every d: [T, E] and [T, D] to [D, E, E], symmetric."""
    dim = x.shape[1]
    rows, columns = np.triu_indices(dim)
    total = np.zeros((len(rows), scales.shape[1]))
    products = np.empty((len(rows), min(len(x), _CHUNK)))
    for start in range(0, len(x), _CHUNK):
        xt = np.ascontiguousarray(x[start : start + _CHUNK].T)
        block = products[:, : xt.shape[1]]
        at = 0
        for i in range(dim):
            np.multiply(xt[i], xt[i:], out=block[at : at + dim - i])
            at += dim - i
        total += block @ scales[start : start + _CHUNK]
    out = np.empty((scales.shape[1], dim, dim))
    out[:, rows, columns] = total.T
    out[:, columns, rows] = total.T
    return out
