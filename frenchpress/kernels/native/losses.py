"""Losses of logits in one pass over memory each way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from frenchpress.kernels.native.library import call


class LogitLosses(Function):
    """Against a class, against another model, and the mean square of the logits, all three means over frames."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Tensor, teacher: Tensor | None, temperature: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cross entropy [] of `logits` [N, classes] with `targets` int64 [N]; T^2 KL(q || p) [] at `temperature` T, p
        the softmax of the logits and q of `teacher` [N, classes], 0 without one; the mean square [] of the logits.

        IndexError for a target that is no class.
        """
        if int(targets.min()) < 0 or int(targets.max()) >= logits.shape[1]:
            raise IndexError(f"targets of {int(targets.min())} to {int(targets.max())}, {logits.shape[1]} classes")
        logits, targets = logits.contiguous(), targets.contiguous()
        frames, classes = logits.shape
        sums = logits.new_empty(3, frames)
        call("fp_loss", frames, classes, logits, targets, teacher, temperature, *sums.unbind(0))
        ctx.save_for_backward(logits, targets, teacher)
        ctx.temperature = temperature
        hard, soft, square = sums.sum(1, dtype=torch.float64).div_(frames).float().unbind(0)
        return hard, soft, square / classes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """Gradient of the logits."""
        logits, targets, teacher = ctx.saved_tensors
        frames, classes = logits.shape
        weights = torch.stack(grads) / frames
        weights[2] /= classes
        grad = torch.empty_like(logits)
        call("fp_loss_gradient", frames, classes, logits, targets, teacher, ctx.temperature, weights, grad)
        return grad, None, None, None
