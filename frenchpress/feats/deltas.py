"""Time derivatives of features."""

from __future__ import annotations

import numpy as np


def add_deltas(features: np.ndarray, order: int = 2, window: int = 2) -> np.ndarray:
    """[T, D] -> float32 [T, (order + 1) * D]: the features and their derivatives by linear regression.

    The n-th derivative is one filter, the regression filter n times convolved with itself, applied to the
    features with the edge frames repeated (so at the edges it differs from the derivative of a derivative).
    """
    ramp = np.arange(-window, window + 1, dtype=np.float64)
    ramp /= (ramp**2).sum()
    parts = [features.astype(np.float32)]
    taps = np.ones(1)
    for _ in range(order):
        taps = np.convolve(taps, ramp)
        parts.append(_filter(features, taps))
    return np.concatenate(parts, axis=1)


def _filter(features: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """sum_k taps[k] * features[t + k - half], in order of k."""
    half = len(taps) // 2
    padded = np.pad(features.astype(np.float64), ((half, half), (0, 0)), mode="edge")
    total = sum(tap * padded[k : k + len(features)] for k, tap in enumerate(taps))
    return np.asarray(total, np.float32)
