"""Mixup: each utterance with another one of its batch laid over it, and the loss of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from frenchpress.nnet.data import Batch


def mix(batch: Batch, alpha: float, at: tuple[int, int, int]) -> tuple[Batch, float]:
    """Lay another piece over each one of `batch`, inputs in place: share times itself plus (1 - share) times the other.

    Gives the same batch with the targets and rows of the others, and the share, which is drawn from Beta(alpha, alpha)
    (Zhang et al. 2018, arXiv 1710.09412, eq. 1). Frames that the other piece does not have stay as they are and keep
    their own targets. `at`: seed, epoch and step, which decide which piece is laid over which, and the share.
    """
    random = np.random.default_rng([*at, 1])  # not the numbers that decide what is hidden
    share = float(random.beta(alpha, alpha))
    pieces, steps, _ = batch.inputs.shape
    other = torch.from_numpy(random.permutation(pieces)).to(batch.lengths.device)
    real = torch.arange(steps, device=batch.lengths.device) < batch.lengths.unsqueeze(1)
    both = (real & real[other]).to(batch.inputs.device)
    mixed = torch.lerp(batch.inputs[other], batch.inputs, share)
    batch.inputs.copy_(torch.where(both.unsqueeze(2), mixed, batch.inputs))
    values = {name: _of_others(getattr(batch, name), real, both, other) for name in ("cd", "mono", "rows")}
    return replace(batch, **values), share


def _of_others(values: Tensor, real: Tensor, both: Tensor, other: Tensor) -> Tensor:
    """`values` of the real frames [N] of each piece, of the other one where `both` [B, T] have the frame."""
    wide = torch.zeros(real.shape, dtype=values.dtype, device=values.device).masked_scatter(real, values)
    return torch.where(both, wide[other], wide)[real]
