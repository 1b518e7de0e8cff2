"""Cepstral mean and variance normalisation from Kaldi's statistics."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def cmvn_stats(features: Iterable[np.ndarray]) -> np.ndarray:
    """Statistics float64 [2, D+1] over matrices [T, D]: sums and count of frames; sums of squares and 0."""
    total: np.ndarray | None = None
    for matrix in features:
        wide = matrix.astype(np.float64)
        stats = np.zeros((2, wide.shape[1] + 1))
        stats[0, :-1], stats[0, -1] = wide.sum(0), len(wide)
        stats[1, :-1] = (wide**2).sum(0)
        total = stats if total is None else total + stats
    if total is None:
        raise ValueError("no features to take statistics of")
    return total


def apply_cmvn(features: np.ndarray, stats: np.ndarray, norm_vars: bool = False) -> np.ndarray:
    """Features less their mean, and over their standard deviation if `norm_vars`; float32 [T, D]."""
    count = stats[0, -1]
    mean = stats[0, :-1] / count
    if not norm_vars:
        return (features - mean.astype(np.float32)).astype(np.float32)
    variance = np.maximum(stats[1, :-1] / count - mean**2, 1e-20)
    scale = 1.0 / np.sqrt(variance)
    return (features * scale.astype(np.float32) - (mean * scale).astype(np.float32)).astype(np.float32)
