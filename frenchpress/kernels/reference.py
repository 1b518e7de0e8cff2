"""An LSTM layer in plain torch, which every other backend is held against: all layers, on any device."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frenchpress.compress.workers import differentiable_total, shared, total
from frenchpress.kernels.backend import LstmParts
from frenchpress.kernels.product import project
from frenchpress.kernels.recurrence import lstm_recurrence

RecurrenceOf = Callable[[LstmParts, Tensor, "list[int]"], Tensor]
"""(parts, packed projections [N, 4 cells], rows at each step) -> outputs [N, cells]."""


def takes(parts: LstmParts) -> bool:
    """Every layer."""
    return True


def serves(parts: LstmParts, x: Tensor) -> bool:
    """Every call."""
    return True


def run(parts: LstmParts, x: Tensor, lengths: Tensor) -> Tensor:
    """See `Backend`."""
    return run_packed(parts, x, lengths, recurrence)


def run_packed(parts: LstmParts, x: Tensor, lengths: Tensor, recurrence_of: RecurrenceOf) -> Tensor:
    """The projections of all real frames at once, then `recurrence_of`: `Backend.run`."""
    batch, steps, inputs = x.shape
    rows, sizes = packing(x, lengths)
    packed = x.reshape(-1, inputs).index_select(0, rows)
    seen = parts.held_inputs(parts.act_in(packed), sizes)
    h = recurrence_of(parts, shift(parts, project(seen, parts.input_matrix)), sizes)
    return h.new_zeros(batch * steps, parts.cells).index_copy(0, rows, h).view(batch, steps, parts.cells)


def recurrence(parts: LstmParts, projections: Tensor, sizes: list[int]) -> Tensor:
    """Outputs [N, cells] from packed, shifted projections [N, 4 cells] with `sizes[t]` rows at step t."""
    matrix = parts.recurrent_matrix
    weight = matrix() if matrix.structure is None else matrix.compact(matrix.structure)
    margin = parts.output_margin(projections)
    return lstm_recurrence(projections, weight, sizes, matrix.structure, parts.act_out, parts.act_cell, margin)


def shift(parts: LstmParts, projections: Tensor) -> Tensor:
    """Batch norm or bias, on packed projections [N, 4 cells]. One frame alone has no variance to go by."""
    n = parts.norm
    if n is None:
        return projections + parts.bias
    if parts.training and shared() is not None:
        return shared_norm(n, projections)
    if len(projections) == 1 and parts.training:
        return F.batch_norm(projections, n.running_mean, n.running_var, n.weight, n.bias, eps=n.eps)
    return n(projections)


def shared_norm(norm: nn.BatchNorm1d, projections: Tensor) -> Tensor:
    """Batch norm in training, with the mean and variance of the frames of all workers."""
    count = float(total(projections.new_tensor(len(projections), dtype=torch.float64)))
    mean = differentiable_total(projections.sum(0)) / count
    centred = projections - mean
    var = differentiable_total(centred.square().sum(0)) / count
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(var * (count / (count - 1)), norm.momentum)
    return centred * (norm.weight * (var + norm.eps).rsqrt()) + norm.bias


def packing(x: Tensor, lengths: Tensor) -> tuple[Tensor, list[int]]:
    """Rows of the flattened [B * T] batch that are real, time step by time step, longest sequence first.

    Also the number of rows at each step.
    """
    ordered, order = torch.sort(lengths, descending=True, stable=True)
    real = torch.arange(int(ordered[0])).unsqueeze(1) < ordered
    rows = (order * x.shape[1] + torch.arange(len(real)).unsqueeze(1))[real]
    return rows.to(x.device), real.sum(1).tolist()
