"""A masked weight matrix as a list of single kept weights, for masks that leave few and have no blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from frenchpress.kernels.native.library import SingleWeights, call


class Singles:
    """Kept weights row by row, and where the transposed matrix finds them. A `Layout`.

    `gather` [kept] (int64): where each one lies in the flat dense matrix.
    """

    def __init__(self, mask: Tensor) -> None:
        """`mask`: bool [outputs, inputs], True where a weight is kept."""
        self.outputs, self.inputs = mask.shape
        self.gather = mask.reshape(-1).nonzero().flatten()
        self.counts = mask.sum(1)
        rows, columns = self.gather // self.inputs, self.gather % self.inputs
        self._start, self._cols = _starts(self.counts), columns.int()
        # Sorted by row already, so a stable order by column is that of the transposed matrix.
        self._turn = columns.argsort(stable=True)
        self._turned_start, self._turned_cols = _starts(mask.sum(0)), rows[self._turn].int()

    @property
    def kept(self) -> int:
        """Number of weights that are computed with."""
        return self.gather.numel()

    def pack(self, weight: Tensor) -> Tensor:
        """[kept] values of a dense matrix [outputs, inputs]; differentiable."""
        return weight.reshape(-1)[self.gather]

    def places(self, room: int) -> Tensor:
        """Where the kept weights lie if each row had room for as many as `room`, int64 [kept]."""
        row = torch.arange(self.outputs).repeat_interleave(self.counts)
        return torch.arange(self.kept) - self._start[row] + row * room

    def apply(self, values: Tensor, x: Tensor, into: Tensor) -> None:
        """`into` [n, outputs, 8] = W x, `x` [n, inputs, 8]."""
        call("fp_singles_apply", self._matrix(values), len(x), x, into)

    def apply_transposed(self, values: Tensor, dy: Tensor, into: Tensor) -> None:
        """`into` [n, inputs, 8] = W' dy, `dy` [n, outputs, 8]."""
        turned = values[self._turn]
        call("fp_singles_apply", self._turned_matrix(turned), len(dy), dy, into)

    def gradient(self, x: Tensor, dy: Tensor, into: Tensor) -> None:
        """`into` [kept]: sum over n of dy x', at kept places."""
        call("fp_singles_gradient", self._matrix(into), len(x), x, dy, into)

    def lstm_forward(self, values: Tensor, *arguments: object) -> None:
        """`fp_lstm_forward` with W as the recurrent matrix."""
        call("fp_singles_lstm_forward", self._matrix(values), *arguments)

    def lstm_backward(self, values: Tensor, *arguments: object) -> None:
        """`fp_lstm_backward` with W as the recurrent matrix."""
        turned = values[self._turn]
        call("fp_singles_lstm_backward", self._turned_matrix(turned), *arguments)

    def _matrix(self, values: Tensor) -> SingleWeights:
        pointers = (self._start.data_ptr(), self._cols.data_ptr(), values.data_ptr())
        return SingleWeights(self.outputs, self.inputs, *pointers)

    def _turned_matrix(self, values: Tensor) -> SingleWeights:
        pointers = (self._turned_start.data_ptr(), self._turned_cols.data_ptr(), values.data_ptr())
        return SingleWeights(self.inputs, self.outputs, *pointers)


def _starts(counts: Tensor) -> Tensor:
    """[n] -> int32 [n + 1], where each begins that has so many, and where the last ends."""
    start = torch.zeros(len(counts) + 1, dtype=torch.int32)
    start[1:] = counts.cumsum(0)
    return start
