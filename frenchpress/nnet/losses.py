"""What a model is trained to make small, and how far it is from it on whole utterances."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from frenchpress.nnet.data import Batch, Frames, in_order
from frenchpress.nnet.distill import Teacher
from frenchpress.nnet.model import AcousticModel


def losses(
    logits: dict[str, Tensor], batch: Batch, l2: float, teacher: Teacher | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Total, tied-state and monophone loss per frame, float32 []; in the total the two are mixed with what `teacher`
    says, and `l2` times the mean square of the tied-state logits is added, which keeps their scale in bounds.
    """
    cd = cross_entropy(logits["cd"], batch.cd)
    mono = cross_entropy(logits["mono"], batch.mono)
    total = cd + mono if teacher is None else teacher.mix(cd + mono, logits, batch)
    if l2:
        total = total + l2 * logits["cd"].square().mean()
    return total, cd, mono


@torch.no_grad()
def evaluate(model: AcousticModel, frames: Frames, batch: int = 32) -> tuple[float, float, float]:
    """Loss per frame (both heads), frame error of tied states and of monophones, over whole utterances."""
    model.eval()
    loss = wrong_cd = wrong_mono = 0.0
    for rows in in_order(frames.pieces(int(frames.lengths.max())), batch):
        part = frames.batch(rows, model.context)
        logits = model(part.inputs, part.lengths)
        loss += losses(logits, part, 0.0)[0].item() * part.frames
        wrong_cd += (logits["cd"].argmax(-1) != part.cd).sum().item()
        wrong_mono += (logits["mono"].argmax(-1) != part.mono).sum().item()
    return loss / len(frames), wrong_cd / len(frames), wrong_mono / len(frames)
