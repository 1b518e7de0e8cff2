"""Dropout of a layer's outputs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SequenceDropout(nn.Module):
    """Zeroes each output with probability `p` while training, and scales up the others by 1 / (1 - p).

    `over`: `frame` draws anew for every frame (Srivastava et al. 2014); `sequence` draws once for each sequence, and an
    output that is zeroed is so in all its frames (Gal & Ghahramani 2016, arXiv 1512.05287, sec. 4). Draws come from
    torch's own generator, whose state a checkpoint has.
    """

    def __init__(self, p: float, over: str = "frame") -> None:
        super().__init__()
        self.p, self.over = p, over

    def forward(self, x: Tensor) -> Tensor:
        """`x` [B, T, features] -> the same shape."""
        if not self.training or not self.p:
            return x
        if self.over == "frame":
            return F.dropout(x, self.p)
        return x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), self.p)

    def extra_repr(self) -> str:
        """Options, for printing a model."""
        return f"{self.p}, over {self.over}"
