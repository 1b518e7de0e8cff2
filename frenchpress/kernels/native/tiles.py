"""A masked weight matrix as tiles of kept columns, the form in which the compiled kernels compute with it."""

from __future__ import annotations

import torch
from torch import Tensor

from frenchpress.kernels.native.library import ROWS, Matrix


class Tiles:
    """Where the kept weights of one LSTM matrix lie: tile p has the rows of cells 2p and 2p + 1 in all four gates.

    A column belongs to a tile when any of its eight rows keeps it, so any mask is right and one whose gates and pairs
    of cells agree is tight. Cells must be even in number.

    `gather` [kept columns over all tiles, 8] (int64): where a packed weight lies in the flat dense matrix.
    """

    def __init__(self, mask: Tensor) -> None:
        """`mask`: bool [4 cells, inputs], True where a weight is kept; the gates lie one after the other."""
        rows, self.inputs = mask.shape
        self.outputs = rows
        cells = rows // 4
        self.tiles = cells // 2
        kept = mask.reshape(4, self.tiles, 2, self.inputs).any(0).any(1)
        self._start = torch.zeros(self.tiles + 1, dtype=torch.int32)
        self._start[1:] = kept.sum(1).cumsum(0)
        tile, column = kept.nonzero(as_tuple=True)
        self._cols = column.int().contiguous()
        pair = torch.arange(cells).view(self.tiles, 1, 2)
        by_tile = (torch.arange(4).view(1, 4, 1) * cells + pair).reshape(self.tiles, ROWS)
        self._rows = by_tile.int().contiguous()
        self.gather = by_tile[tile] * self.inputs + column[:, None]

    @property
    def kept(self) -> int:
        """Number of weights that are computed with."""
        return self.gather.numel()

    def pack(self, weight: Tensor) -> Tensor:
        """[kept columns, 8] values of a dense [rows, inputs] matrix, which must already be masked; differentiable."""
        return weight.reshape(-1)[self.gather]

    def with_values(self, values: Tensor) -> Matrix:
        """The C view of this matrix; `values` must stay alive while it is used."""
        return Matrix(
            self.tiles, self.outputs, self.inputs,
            self._rows.data_ptr(), self._start.data_ptr(), self._cols.data_ptr(), values.data_ptr(),
        )  # fmt: skip
