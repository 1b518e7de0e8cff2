"""What a model is trained to make small, and how far it is from it on whole utterances."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from frenchpress.compress import workers
from frenchpress.kernels import native
from frenchpress.nnet.data import Batch, Frames
from frenchpress.nnet.distill import Teacher, soft_loss
from frenchpress.nnet.model import AcousticModel


def losses(
    logits: dict[str, Tensor], batch: Batch, l2: float, teacher: Teacher | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Total, tied-state and monophone loss per frame, float32 []; in the total the two are mixed with what `teacher`
    says, and `l2` times the mean square of the tied-state logits is added, which keeps their scale in bounds.
    """
    said = {} if teacher is None else {head: teacher.of(head, batch, z) for head, z in logits.items()}
    temperature = 1.0 if teacher is None else teacher.temperature
    cd, soft_cd, square = logit_losses(logits["cd"], batch.cd, said.get("cd"), temperature)
    mono, soft_mono, _ = logit_losses(logits["mono"], batch.mono, said.get("mono"), temperature)
    total = cd + mono if teacher is None else teacher.mix(cd + mono, soft_cd + soft_mono)
    if l2:
        total = total + l2 * square
    return total, cd, mono


def mixed_losses(
    logits: dict[str, Tensor], batch: Batch, other: Batch, share: float, l2: float, teacher: Teacher | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """`losses` of `batch` by its `share`, and of the same frames with the targets of `other` by the rest of it."""
    own = losses(logits, batch, l2, teacher)
    if share == 1.0:
        return own
    total, cd, mono = (torch.lerp(b, a, share) for a, b in zip(own, losses(logits, other, l2, teacher)))
    return total, cd, mono


def logit_losses(
    logits: Tensor, targets: Tensor, teacher: Tensor | None, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross entropy [] of `logits` [N, classes] with `targets` int64 [N]; `soft_loss` [] with what the teacher says,
    [N, classes], 0 without one; the mean square [] of the logits. By a compiled kernel where there is one.
    """
    if logits.dtype == torch.float32 and logits.device.type == "cpu" and native.library() is not None:
        return native.LogitLosses.apply(logits, targets, teacher, temperature)
    soft = logits.new_zeros(()) if teacher is None else soft_loss(logits, teacher, temperature)
    return cross_entropy(logits, targets), soft, logits.square().mean()


@torch.no_grad()
def evaluate(model: AcousticModel, frames: Frames, batch: int = 32) -> tuple[float, float, float]:
    """Loss per frame (both heads), frame error of tied states and of monophones, over whole utterances.

    Where workers share (compress.workers), each takes some of the batches.
    """
    model.eval()
    share = workers.shared() or workers.Share()
    loss = wrong_cd = wrong_mono = 0.0
    for rows in frames.in_order(batch)[share.mine]:
        part = frames.batch(rows, model.offsets)
        logits = model(part.inputs, part.lengths)
        loss += losses(logits, part, 0.0)[0].item() * part.frames
        wrong_cd += (logits["cd"].argmax(-1) != part.cd).sum().item()
        wrong_mono += (logits["mono"].argmax(-1) != part.mono).sum().item()
    sums = workers.total(torch.tensor([loss, wrong_cd, wrong_mono], dtype=torch.float64, device=frames.device))
    loss, wrong_cd, wrong_mono = (sums / len(frames)).tolist()
    return loss, wrong_cd, wrong_mono
