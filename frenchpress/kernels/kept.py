"""Which weights of a matrix are kept, said once: the tiles of the compiled kernels, those of a GPU and the masks of a
packed model are made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from frenchpress.compress import Weight
from frenchpress.compress.structure import AsItIs

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Kept:
    """Of a matrix of `shape` (out, in), `gates` matrices stacked by rows.

    `mask`: bool [out / gates, in] that the gates share, or [out, in]; None where all weights are kept. `movable`:
    whether kept weights may be quantized in a compact form, out of their places.
    """

    shape: tuple[int, int]
    gates: int
    mask: Tensor | None
    movable: bool
    device: torch.device

    @classmethod
    def of(cls, matrix: Weight) -> Kept:
        """As `matrix` stands; while it is probing, all of its weights are computed with."""
        mask = None if matrix.probing else matrix.mask
        return cls(matrix.shape, matrix.gates, mask, matrix.quantizer.movable, matrix.device)

    @property
    def full(self) -> Tensor:
        """Bool [out, in]."""
        if self.mask is None:
            return torch.ones(self.shape, dtype=torch.bool, device=self.device)
        return self.mask.repeat(self.shape[0] // self.mask.shape[0], 1)

    @property
    def streams(self) -> tuple[Tensor, ...]:
        """Bool [out / gates, in] each: the mask that gates share, or one for each; none where there is no mask."""
        return () if self.mask is None else self.mask.split(self.shape[0] // self.gates)

    @property
    def state(self) -> Hashable:
        """What tells this from what the same matrix keeps at another time."""
        mask = None if self.mask is None else AsItIs(self.mask)
        return mask, self.movable, self.device


class PerMatrix(Generic[Made]):
    """What is made for a matrix and the weights that it keeps, once for each state; forgotten with the matrix."""

    def __init__(self, make: Callable[..., Made]) -> None:
        """`make(matrix, *more)`."""
        self._make = make
        self._latest: WeakKeyDictionary[Weight, tuple[Hashable, Made]] = WeakKeyDictionary()

    def __contains__(self, matrix: Weight) -> bool:
        return matrix in self._latest

    def of(self, matrix: Weight, *more: Hashable) -> Made:
        """For the mask as it is now."""
        key = (Kept.of(matrix).state, *more)
        latest = self._latest.get(matrix)
        if latest is None or latest[0] != key:
            latest = self._latest[matrix] = (key, self._make(matrix, *more))
        return latest[1]
