"""Learning from another model's posteriors as well as from the alignment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from frenchpress.nnet.data import Batch
from frenchpress.nnet.model import AcousticModel


@dataclass(frozen=True)
class Teacher:
    """A trained model that is asked about every batch. It is evaluated, never trained, and remembers nothing.

    `weight`: share of its opinion in the loss. `temperature`: what logits of both models are divided by.
    """

    model: AcousticModel
    weight: float
    temperature: float

    def mix(self, hard: Tensor, logits: dict[str, Tensor], batch: Batch) -> Tensor:
        """`hard`, the loss [] against the alignment, mixed with that against the teacher, over both heads.

        (1 - weight) * hard + weight * sum of `soft_loss` (Hinton et al. 2015, arXiv 1503.02531, sec. 2).
        """
        self.model.eval()
        with torch.no_grad():
            said = self.model(batch.inputs, batch.lengths)
        soft = [soft_loss(logits[head], said[head], self.temperature) for head in logits]
        return (1.0 - self.weight) * hard + self.weight * torch.stack(soft).sum()


def soft_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(q || p) per frame, [], of logits [N, classes] at temperature T: p the student's, q the teacher's.

    p_i = exp(z_i / T) / sum_j exp(z_j / T) (Hinton et al. 2015, eq. 1). It is the cross entropy of that paper less the
    entropy of q, which has no gradient; T^2 keeps the gradients at the size of those of the hard targets (sec. 2).
    """
    p, q = (torch.log_softmax(z / temperature, dim=-1) for z in (logits, teacher))
    return temperature**2 * kl_div(p, q, reduction="batchmean", log_target=True)
