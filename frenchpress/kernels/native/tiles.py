"""A masked weight matrix as tiles of kept columns, the form in which the compiled kernels compute with it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from frenchpress.kernels.native.library import ROWS, Matrix, call


class Tiles:
    """Where the kept weights of a matrix lie: tile p has eight rows, of an LSTM the cells 2p and 2p + 1 in all four
    gates, of a matrix without gates the rows 8p to 8p + 7. A `Layout`.

    A column belongs to a tile when any of its eight rows keeps it, so any mask is right and one whose rows agree is
    tight. Rows that a last tile lacks are zero; the recurrence has no such rows, and takes an even number of cells.

    `gather` [kept columns over all tiles, 8] (int64): where a packed weight lies in the flat dense matrix; behind its
    end for rows that there are not.
    """

    def __init__(self, mask: Tensor, gates: int = 4) -> None:
        """`mask`: bool [gates * units, inputs], True where a weight is kept; the gates lie one after the other."""
        rows, self.inputs = mask.shape
        self.outputs = rows
        units, side = rows // gates, ROWS // gates
        self.tiles = -(-units // side)
        padded = F.pad(mask.reshape(gates, units, self.inputs), (0, 0, 0, self.tiles * side - units))
        kept = padded.view(gates, self.tiles, side, self.inputs).any(0).any(1)
        self._start = torch.zeros(self.tiles + 1, dtype=torch.int32)
        self._start[1:] = kept.sum(1).cumsum(0)
        tile, column = kept.nonzero(as_tuple=True)
        self._cols = column.int().contiguous()
        unit = torch.arange(self.tiles * side).view(self.tiles, 1, side)
        by_tile = torch.where(unit < units, torch.arange(gates).view(1, gates, 1) * units + unit, -1)
        by_tile = by_tile.reshape(self.tiles, ROWS)
        self._rows = by_tile.int().contiguous()
        row = by_tile[tile]
        self.gather = torch.where(row < 0, mask.numel(), row * self.inputs + column[:, None])

    @property
    def kept(self) -> int:
        """Number of weights that are computed with."""
        return self.gather.numel()

    @property
    def counts(self) -> Tensor:
        """Kept columns of each tile, int32 [tiles]."""
        return self._start.diff()

    def places(self, room: int) -> Tensor:
        """Where the kept columns lie if each tile had room for as many as `room`, int64 [kept columns]."""
        tile = torch.arange(self.tiles).repeat_interleave(self.counts)
        return torch.arange(len(tile)) - self._start[tile] + tile * room

    def pack(self, weight: Tensor) -> Tensor:
        """[kept columns, 8] values of a dense [rows, inputs] matrix, which must already be masked; differentiable."""
        return F.pad(weight.reshape(-1), (0, 1))[self.gather]

    def apply(self, values: Tensor, x: Tensor, into: Tensor) -> None:
        """`into` [n, outputs, 8] = W x, `x` [n, inputs, 8]."""
        call("fp_apply", self.with_values(values), len(x), x, into)

    def apply_transposed(self, values: Tensor, dy: Tensor, into: Tensor) -> None:
        """`into` [n, inputs, 8] = W' dy, `dy` [n, outputs, 8]."""
        call("fp_apply_transposed", self.with_values(values), len(dy), dy, into)

    def gradient(self, x: Tensor, dy: Tensor, into: Tensor) -> None:
        """`into` [kept columns, 8]: sum over n of dy x', at kept places."""
        call("fp_gradient", self.with_values(into), len(x), x, dy, into)

    def lstm_forward(self, values: Tensor, *arguments: object) -> None:
        """`fp_lstm_forward` with W as the recurrent matrix."""
        call("fp_lstm_forward", self.with_values(values), *arguments)

    def lstm_backward(self, values: Tensor, *arguments: object) -> None:
        """`fp_lstm_backward` with W as the recurrent matrix."""
        call("fp_lstm_backward", self.with_values(values), *arguments)

    def with_values(self, values: Tensor) -> Matrix:
        """The C view of this matrix; `values` must stay alive while it is used."""
        return Matrix(
            self.tiles, self.outputs, self.inputs,
            self._rows.data_ptr(), self._start.data_ptr(), self._cols.data_ptr(), values.data_ptr(),
        )  # fmt: skip
