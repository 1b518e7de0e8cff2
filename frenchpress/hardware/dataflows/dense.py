"""Row-parallel: a multiplier has a row, and all of them take the same activation. Removed weights are stored zeros."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from frenchpress.common import UserError
from frenchpress.common.typed import ranged
from frenchpress.hardware.dataflows.base import Placed, ProductCost, by_cells, codes_of
from frenchpress.hardware.memory import Memories, Packing, to_words
from frenchpress.packed.model import PackedMatrix


@dataclass(frozen=True)
class Dense:
    """`lanes` rows at a time, gates of a cell side by side; a step takes one activation and a weight for each."""

    lanes: int | None = ranged(None, low=1, high=1 << 20)

    def __post_init__(self) -> None:
        if self.lanes is None:
            raise UserError("lanes: missing, the number of multipliers")

    @property
    def multipliers(self) -> int:
        """One for each lane."""
        return self.lanes

    @property
    def remedy(self) -> str:
        """None here."""
        return "a chip of another dataflow leaves them out"

    def check_memories(self, memories: Memories) -> None:
        """All memories will do."""

    def check_matrix(self, matrix: PackedMatrix) -> None:
        """Every matrix will do, since zeros are stored; but not a code that has no zero."""
        refuse_fill(matrix, bool(matrix.masks) and not matrix.mask.all())

    def _weights(self, matrix: PackedMatrix, memories: Memories) -> Packing:
        return Packing(self.lanes * matrix.bits, memories.weights.wide)

    def cost(self, matrix: PackedMatrix, act_bits: int, memories: Memories) -> ProductCost:
        """ceil(rows / lanes) groups of one step for each column."""
        rows, columns = matrix.gates * matrix.rows, matrix.columns
        groups = -(-rows // self.lanes)
        weights, vector = self._weights(matrix, memories), Packing(act_bits, memories.activations.wide)
        each = weights.words_each
        steps, words = groups * columns, weights.words(groups * columns)
        ends = np.arange(1, groups + 1)
        done = np.stack([ends * columns * each, np.minimum(rows, ends * self.lanes) // matrix.gates], axis=1)
        return ProductCost(
            cycles=steps * each,
            macs=matrix.kept,
            executed=rows * columns,
            lost={
                "zeros": (rows * columns - matrix.kept) / self.lanes,
                "edges": steps - rows * columns / self.lanes,
                "memory": float(steps * (each - 1)),
            },
            accesses=Counter(
                weights=words * memories.weights.banks,
                activations=groups * vector.words(columns) * memories.activations.banks,
                sums=rows,
            ),
            words={"weights": np.array([words])},
            done=done,
        )

    def vector_words(self, size: int, act_bits: int, memories: Memories) -> int:
        """One behind the other in all banks side by side."""
        return Packing(act_bits, memories.activations.wide).words(size)

    def place(self, matrix: PackedMatrix, memories: Memories) -> Placed:
        """Step by step; lanes beyond the last row have zeros."""
        codes = codes_of(by_cells(matrix)[0], matrix.bits)
        codes = np.pad(codes, ((0, -len(codes) % self.lanes), (0, 0)))
        steps = codes.reshape(-1, self.lanes, matrix.columns).transpose(0, 2, 1).reshape(-1, self.lanes)
        return Placed([to_words(steps, matrix.bits, memories.weights.wide)])


def refuse_fill(matrix: PackedMatrix, fills: bool) -> None:
    """UserError where zeros would have to be stored among weights of one bit, which are -1 and 1."""
    if fills and matrix.bits == 1:
        raise UserError("weights of one bit, -1 and 1, with zeros between them; this dataflow stores zeros as weights")
