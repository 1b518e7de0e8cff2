"""Dropout of a layer's outputs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from frenchpress.compress.workers import Share, shared
from frenchpress.kernels.native import LANES


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
        share = shared()
        if self.over == "frame" and share is None:
            return F.dropout(x, self.p)
        frames = x.shape[1] if self.over == "frame" else 1
        if share is None:
            return x * F.dropout(x.new_ones(len(x), frames, x.shape[2]), self.p)
        return x * F.dropout(_ones(x, frames, share), self.p)[share.mine]

    def extra_repr(self) -> str:
        """Options, for printing a model."""
        return f"{self.p}, over {self.over}"


def _ones(x: Tensor, frames: int, share: Share) -> Tensor:
    """[sequences of all workers, `frames`, features], so that those in `x` are zeroed as one process would zero them.

    Draws come in the order of memory, where the compiled kernels leave up to `LANES` sequences side by side.
    """
    if frames == 1 or share.sequences > LANES or (len(x) > 1 and x.is_contiguous()):
        return x.new_ones(share.sequences, frames, x.shape[2])
    return x.new_ones(frames, x.shape[2], share.sequences).permute(2, 0, 1)
