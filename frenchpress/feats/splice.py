"""Neighbouring frames side by side."""

from __future__ import annotations

import numpy as np


def splice(features: np.ndarray, left: int, right: int) -> np.ndarray:
    """[T, D] -> [T, (left + 1 + right) * D], oldest frame first; the edge frames are repeated."""
    frames = len(features)
    index = np.arange(frames)[:, None] + np.arange(-left, right + 1)
    return features[np.clip(index, 0, frames - 1)].reshape(frames, -1)
