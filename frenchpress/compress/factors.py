"""A matrix as the product of two smaller ones: the best approximation of low rank, and a weight kept as one."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NoReturn

import torch
from torch import Tensor, nn

from frenchpress.common import UserError
from frenchpress.common.typed import parse_fraction
from frenchpress.compress.options import WeightPress, rarely
from frenchpress.compress.quantizers import Quantizer, make_quantizer
from frenchpress.compress.structure import BlockStructure
from frenchpress.compress.weight import PressedWeight


@dataclass(frozen=True)
class Factors:
    """How small two factors are: by their common `rank`, or by the share of the matrix's weights that they `keep`."""

    rank: int | None = rarely()
    keep: Fraction | None = field(default=None, metadata={"rare": True})

    def __post_init__(self) -> None:
        if (self.rank is None) == (self.keep is None):
            raise UserError("say either rank, a number, or keep, the share of the weights that the two factors have")
        if self.keep is not None:
            object.__setattr__(self, "keep", parse_fraction(self.keep))
        if self.rank is not None and self.rank < 1:
            raise UserError(f"rank: {self.rank} is out of range; it must be at least 1")

    def rank_in(self, shape: tuple[int, int]) -> int:
        """The rank in a matrix of `shape` (out, in); UserError unless both factors have fewer weights than it."""
        rows, columns = shape
        most = (rows * columns - 1) // (rows + columns)
        rank = self.rank if self.rank is not None else max(1, int(self.keep * rows * columns / (rows + columns)))
        if rank > min(shape):
            raise UserError(f"rank: {rank} is above that of the matrix: {rows} x {columns} has at most {min(shape)}")
        if rank > most:
            raise UserError(
                f"rank: {rank}: {rows} x {rank} and {rank} x {columns} are no fewer weights than {rows} x {columns}; "
                f"use at most {most}"
            )
        return rank


def low_rank(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors [out, rank], [rank, in] whose product is the nearest to `weight` [out, in] of all of that rank (Eckart &
    Young 1936), by its singular values, whose roots both share.
    """
    u, s, v = torch.linalg.svd(weight.detach().float(), full_matrices=False)
    root = s[:rank].sqrt()
    return (u[:, :rank] * root).to(weight.dtype), (root[:, None] * v[:rank]).to(weight.dtype)


def rank_of_energy(weight: Tensor, energy: float) -> int:
    """The least rank whose best approximation has the share `energy` of the sum of squares of `weight` [out, in]."""
    if not 0 < energy <= 1:
        raise UserError(f"energy: {energy} is out of range; it must be above 0 and at most 1")
    squares = torch.linalg.svdvals(weight.detach().double()).square().cumsum(0)
    return min(len(squares), int((squares < energy * squares[-1] * (1 - 1e-12)).sum()) + 1)


class FactoredWeight(nn.Module):
    """A matrix of `shape` (out, in) that is `left` [out, rank] times `right` [rank, in], each a `PressedWeight`.

    For the kernels it is a dense float matrix without a mask. `press` and `generator` as in `PressedWeight`; `gates`
    matrices are stacked in `left`.
    """

    mask, plan, structure, probing, hierarchy, density = None, None, None, False, (), 1.0

    def __init__(
        self,
        shape: tuple[int, int],
        factors: Factors,
        press: WeightPress,
        gates: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.gates, self.rank = shape, gates, factors.rank_in(shape)
        self.left = PressedWeight((shape[0], self.rank), press, gates, generator)
        self.right = PressedWeight((self.rank, shape[1]), press, 1, generator)
        self.quantizer: Quantizer = make_quantizer("none", 32)

    @property
    def saved(self) -> int:
        """Weights of the dense matrix that neither factor has."""
        rows, columns = self.shape
        return rows * columns - self.rank * (rows + columns)

    @property
    def device(self) -> torch.device:
        """Where the factors are."""
        return self.left.device

    def forward(self) -> Tensor:
        """The dense matrix [out, in] that the model multiplies with."""
        return self.left() @ self.right()

    @torch.no_grad()
    def take(self, weight: Tensor) -> None:
        """Become the best approximation of `weight` [out, in]."""
        for factor, value in zip((self.left, self.right), low_rank(weight, self.rank)):
            factor.weight.copy_(value)

    @torch.no_grad()
    def start(self, weight: Tensor) -> None:
        """Become that approximation of a random `weight` [out, in], scaled up to its norm."""
        self.take(weight)
        scale = (weight.norm() / (self.left.weight @ self.right.weight).norm()).sqrt()
        self.left.weight.mul_(scale), self.right.weight.mul_(scale)

    def compact(self, structure: BlockStructure) -> NoReturn:
        """Not: there is no structure."""
        raise NotImplementedError("a product of factors has no kept blocks")

    def read_units(self, plan: object) -> NoReturn:
        """UserError: columns of the product cannot be removed."""
        raise UserError("mask: cell: what reads these cells has factors, and no columns of its own to remove")


Weight = PressedWeight | FactoredWeight
"""What a layer multiplies with."""
