"""What a quantizer stores of a tensor, and how much of the tensor one scale serves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Granularity:
    """One scale for the tensor, for each row, or for each group of `columns` neighbours in a row.

    `rows`: whether each row has scales of its own. `columns`: of a group, None: the whole row.
    """

    rows: bool = False
    columns: int | None = None

    @property
    def whole_rows(self) -> bool:
        """Whether the weights of a row have one scale, so that they may leave their places in it: kept weights that
        are moved together, or quantized without the removed ones, come out the same.
        """
        return self.columns is None

    def scales(self, rows: int, columns: int) -> int:
        """Number of scales of a matrix."""
        groups = 1 if self.columns is None else -(-columns // self.columns)
        return (rows if self.rows else 1) * groups

    def __str__(self) -> str:
        if self.columns is not None:
            return f"{self.columns} columns" + (" of a row" if self.rows else "")
        return "row" if self.rows else "tensor"


TENSOR, ROW = Granularity(), Granularity(rows=True)


def groups_of(columns: int) -> Granularity:
    """One scale for every `columns` neighbours of each row."""
    return Granularity(rows=True, columns=columns)


@dataclass(frozen=True)
class Codes:
    """`codes`, int64 of the tensor's shape, fit the bits that the quantizer stores; the tensor is
    `(table[codes] or codes - zero) * scale`.

    `scale`: broadcastable to the tensor, of its type. `table`: int64 [levels], ascending, for levels that lie unevenly.
    `zero`: int64, broadcastable, the code of zero where the grid is not symmetric.
    """

    codes: Tensor
    scale: Tensor
    zero: Tensor | None = None
    table: Tensor | None = None

    @property
    def written(self) -> Tensor:
        """What a value code writes: integers, or where there is a zero point the codes, which need fewer bits."""
        return self.integers if self.zero is None else self.codes

    @property
    def integers(self) -> Tensor:
        """What the scale multiplies, int64 of the tensor's shape."""
        found = self.codes if self.table is None else self.table[self.codes]
        return found if self.zero is None else found - self.zero

    def values(self) -> Tensor:
        """The tensor."""
        return self.integers.to(self.scale.dtype) * self.scale


def codes_in(table: Tensor, integers: Tensor, scale: Tensor) -> Codes:
    """Codes of `integers`, int64, all of which are in `table`, int64 [levels], ascending."""
    return Codes(torch.searchsorted(table, integers), scale, table=table)
