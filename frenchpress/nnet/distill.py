"""Learning from another model's posteriors as well as from the alignment."""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from frenchpress.common import atomic_dir, is_done, locked_dir, mark_done
from frenchpress.common.progress import progress
from frenchpress.nnet.data import Batch, Frames
from frenchpress.nnet.model import AcousticModel

_TOGETHER = 32  # utterances


@dataclass(frozen=True)
class Teacher:
    """What a trained model says of every frame of train.

    `said`: its log posteriors, float16 [frames, classes] by head; of several models, each one's. `weight`: share of its
    opinion in the loss. `temperature`: what logits of both models are divided by.
    """

    said: Sequence[Mapping[str, np.ndarray]]
    weight: float
    temperature: float

    def of(self, head: str, batch: Batch, like: Tensor) -> Tensor:
        """What is said of the frames of `batch`, log posteriors [N, classes] of type and device of `like`.

        Of several models it is the logarithm of the mean of their posteriors (Hinton et al. 2015, sec. 1).
        """
        rows = batch.rows.cpu().numpy()
        each = [torch.from_numpy(_read(said[head], rows)).to(like.device, like.dtype) for said in self.said]
        return each[0] if len(each) == 1 else torch.stack(each).logsumexp(0) - math.log(len(each))

    def mix(self, hard: Tensor, soft: Tensor) -> Tensor:
        """The loss [] against the alignment and that against the teacher, over both heads, in one.

        (1 - weight) * hard + weight * soft, a sum of `soft_loss` (Hinton et al. 2015, arXiv 1503.02531, sec. 2).
        """
        return (1.0 - self.weight) * hard + self.weight * soft


def _read(said: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """These rows of an array, which is let go of again where it is a map of a file: the system keeps its pages."""
    found = said[rows]
    if isinstance(said.base, mmap.mmap):
        said.base.madvise(mmap.MADV_DONTNEED)
    return found


def ask(model: AcousticModel, frames: Frames, place: Path, key: dict[str, Any]) -> dict[str, np.ndarray]:
    """Log posteriors of `model` for all of `frames`, float16 [frames, classes] by head, each utterance seen whole.

    They are kept in `place` under `key`, which says what they depend on, and only read where they are there already:
    every model that learns from the same teacher needs the same ones, and one that is interrupted goes on with them.
    They take 2 bytes per frame and class.
    """
    with locked_dir(place, patience=math.inf):
        kept = place / "train"
        if not is_done(kept, key):
            with atomic_dir(kept) as made:
                _ask(model, frames, made)
                mark_done(made, key)
        return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in kept.glob("*.npy")}


@torch.no_grad()
def _ask(model: AcousticModel, frames: Frames, place: Path) -> None:
    model.eval()
    said: dict[str, np.ndarray] = {}
    for rows in progress(frames.in_order(_TOGETHER), "posteriors of the teacher"):
        batch = frames.batch(rows, model.offsets)
        for head, logits in model(batch.inputs, batch.lengths).items():
            if head not in said:
                shape = (len(frames), logits.shape[-1])
                said[head] = np.lib.format.open_memmap(place / f"{head}.npy", "w+", np.float16, shape)
            said[head][batch.rows.cpu().numpy()] = log_softmax(logits, dim=-1).half().cpu().numpy()
    for values in said.values():
        values.flush()


def soft_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(q || p) per frame, [], of logits [N, classes] at temperature T: p the student's, q the teacher's.

    p_i = exp(z_i / T) / sum_j exp(z_j / T) (Hinton et al. 2015, eq. 1). It is the cross entropy of that paper less the
    entropy of q, which has no gradient; T^2 keeps the gradients at the size of those of the hard targets (sec. 2).
    """
    p, q = (log_softmax(z / temperature, dim=-1) for z in (logits, teacher))
    return temperature**2 * kl_div(p, q, reduction="batchmean", log_target=True)
