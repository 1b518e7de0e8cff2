"""What every dataflow says of one product of a matrix with a vector."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from frenchpress.hardware.memory import Memories
from frenchpress.packed.model import PackedMatrix

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ProductCost:
    """What one product takes.

    `cycles`: of all of it. `executed`: products of numbers, those with zeros that fill up included. `lost`: cycles of
    the whole array that do no kept weight, by cause. `accesses`: words of single banks that are read or written, by
    memory. `words`: words taken up in each bank of a memory. `done`: [n, 2], by which cycle how many rows of a gate
    are complete.
    """

    cycles: int
    macs: int
    executed: int
    lost: dict[str, float]
    accesses: Counter[str]
    words: dict[str, Ints]
    done: Ints


@dataclass(frozen=True)
class Placed:
    """A matrix in the memories of a chip: words of each bank, or of all banks side by side where there is one list."""

    weights: list[list[int]]
    index: list[list[int]] = field(default_factory=lambda: [[]])


class Dataflow(Protocol):
    """How a chip goes through a matrix, and how the matrix lies in its memories for that."""

    @property
    def multipliers(self) -> int:
        """Of one channel."""

    @property
    def remedy(self) -> str:
        """What leaves fewer zeros among the weights that are stored, for a message."""

    def check_memories(self, memories: Memories) -> None:
        """UserError, which begins with the key, where memories do not fit the array."""

    def check_matrix(self, matrix: PackedMatrix) -> None:
        """UserError where the structure of the matrix is not one that this dataflow takes."""

    def cost(self, matrix: PackedMatrix, act_bits: int, memories: Memories) -> ProductCost:
        """The formulas: what a product with a vector of `act_bits`-bit numbers takes."""

    def vector_words(self, size: int, act_bits: int, memories: Memories) -> int:
        """Words of each bank of `activations` that a vector takes."""

    def place(self, matrix: PackedMatrix, memories: Memories) -> Placed:
        """The words in memory."""


def codes_of(values: NDArray[np.int32], bits: int) -> Ints:
    """Weights as bits from 0 up: two's complement, and for one bit 0 for -1."""
    return (values > 0).astype(np.int64) if bits == 1 else values.astype(np.int64) & ((1 << bits) - 1)


def by_cells(matrix: PackedMatrix) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Weights and mask with the gates of a cell side by side: row gates * cell + gate."""
    order = np.arange(matrix.gates * matrix.rows).reshape(matrix.gates, matrix.rows).T.ravel()
    return matrix.values[order], matrix.mask[order]
