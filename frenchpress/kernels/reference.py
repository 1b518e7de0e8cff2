"""An LSTM layer in plain torch, which every other backend is held against: all layers, on any device."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

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
    if len(projections) == 1 and parts.training:
        return F.batch_norm(projections, n.running_mean, n.running_var, n.weight, n.bias, eps=n.eps)
    return n(projections)


def packing(x: Tensor, lengths: Tensor) -> tuple[Tensor, list[int]]:
    """Rows of the flattened [B * T] batch that are real, time step by time step, longest sequence first.

    Also the number of rows at each step.
    """
    ordered, order = torch.sort(lengths, descending=True, stable=True)
    real = torch.arange(int(ordered[0])).unsqueeze(1) < ordered
    rows = (order * x.shape[1] + torch.arange(len(real)).unsqueeze(1))[real]
    return rows.to(x.device), real.sum(1).tolist()
