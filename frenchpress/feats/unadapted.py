"""Features that a lone file has too: nothing in them is estimated over all that a speaker said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.feats.online import RunningMean
from frenchpress.feats.splice import splice
from frenchpress.kaldi.io import MatrixReader

ADAPTED = "fmllr"
MADE_OF = {ADAPTED: "mfcc", "lda": "mfcc", "fbank": "fbank"}
"""The features that a task may have, and what each is made of. `fmllr` alone is adapted to the speaker."""


@dataclass(frozen=True)
class UnadaptedFront:
    """From MFCC or filterbanks [T, C] of an utterance to features [T, D].

    A running mean is taken off, which begins as that of the training set, `mean` float32 [C]; `left` + 1 + `right`
    frames side by side go through `matrix` float32 [D, (left + 1 + right) C].
    """

    mean: NDArray[np.float32]
    left: int
    right: int
    matrix: NDArray[np.float32]

    def __post_init__(self) -> None:
        width = (self.left + 1 + self.right) * len(self.mean)
        if self.matrix.shape[1] != width:
            raise UserError(f"a matrix for {self.matrix.shape[1]} numbers a frame, spliced there are {width}")

    def __call__(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features of one utterance."""
        spliced = splice(RunningMean(self.mean)(frames), self.left, self.right)
        return (spliced @ self.matrix.T).astype(np.float32)


def training_mean(train: Path, kind: str) -> NDArray[np.float32]:
    """Mean of all MFCC or filterbanks of a data directory, float32 [C]."""
    total = sum(MatrixReader(train / kind / "cmvn.scp").values())
    return (total[0, :-1] / total[0, -1]).astype(np.float32)
