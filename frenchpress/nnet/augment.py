"""Features hidden at random while training, so that a model cannot lean on any few of them (SpecAugment)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from frenchpress.config import AugmentConfig
from frenchpress.nnet.data import Batch


def hide(batch: Batch, offsets: range, mean: Tensor, config: AugmentConfig, at: tuple[int, int, int]) -> None:
    """Set what is hidden in `batch.inputs` [B, T, offsets * D] to `mean` [offsets * D], in place.

    Time and frequency masking of Park et al. 2019 (arXiv 1904.08779, sec. 2), with as many time masks as an utterance
    is long (Park et al. 2020, arXiv 1912.05533, sec. 3.2). A frame or a feature is hidden before splicing: it is
    missing wherever a frame has it as a neighbour. `at`: seed, epoch and step, which decide what is hidden. A
    share of a batch has hidden what is hidden of it in the whole one.
    """
    random = np.random.default_rng([*at])
    pieces, steps, inputs = batch.inputs.shape
    dim, around = inputs // len(offsets), offsets[-1] - offsets[0]
    spliced = batch.inputs.view(pieces, steps, len(offsets), dim)
    lengths = batch.whole + around  # neighbours outside of a piece can be hidden too
    frames = torch.from_numpy(_frames(random, lengths, steps + around, config)[batch.mine])
    features = torch.from_numpy(_features(random, len(lengths), dim, config)[batch.mine])
    seen = frames.unfold(1, around + 1, 1)[..., :: offsets.step]
    hidden = seen.unsqueeze(-1) | features.view(pieces, 1, 1, -1)
    spliced.copy_(torch.where(hidden.to(spliced.device), mean.view(len(offsets), -1), spliced))


def _frames(random: np.random.Generator, lengths: np.ndarray, steps: int, config: AugmentConfig) -> np.ndarray:
    """Bool [B, steps], True where a frame is hidden."""
    hidden = np.zeros((len(lengths), steps), bool)
    for row, length in zip(hidden, lengths):
        for _ in range(random.poisson(config.time_masks * length / 100)):
            width = min(random.integers(0, config.time_width + 1), length)
            first = random.integers(0, length - width + 1)
            row[first : first + width] = True
    return hidden


def _features(random: np.random.Generator, pieces: int, dim: int, config: AugmentConfig) -> np.ndarray:
    """Bool [B, dim], True where a feature is hidden in all of a piece."""
    hidden = np.zeros((pieces, dim), bool)
    for row in hidden:
        for _ in range(config.feature_masks):
            width = min(random.integers(0, config.feature_width + 1), dim)
            first = random.integers(0, dim - width + 1)
            row[first : first + width] = True
    return hidden
