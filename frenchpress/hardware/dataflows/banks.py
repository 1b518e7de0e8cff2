"""Bank-parallel, as in BBS (Cao et al., FPGA 2019): the columns are cut into banks, each multiplier of a row has one.

A step takes, of each of `rows` rows, one kept weight from every bank, and the activation that the weight's index picks
in its bank. A row takes as many steps as its fullest bank has weights; rows side by side wait for the fullest of them.
Banks that have fewer weights are filled up with zeros. Balanced structures (`mask: {method: bank}`) wait least.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from frenchpress.common import UserError
from frenchpress.common.bits import width_of
from frenchpress.common.typed import ranged
from frenchpress.hardware.dataflows.base import Ints, Placed, ProductCost, by_cells, codes_of
from frenchpress.hardware.dataflows.dense import refuse_fill
from frenchpress.hardware.memory import Memories, Packing, to_words
from frenchpress.packed.model import PackedMatrix

LENGTH_BITS = 16
"""Steps of a group of rows, before the places in the index."""


@dataclass(frozen=True)
class Banks:
    """`rows` rows at a time, gates of a cell side by side, and `banks` multipliers for each. Each row has a copy of
    the activations, so that all of a step can be read at once.
    """

    rows: int = ranged(1, low=1, high=4096)
    banks: int = ranged(1, low=1, high=4096)

    @property
    def multipliers(self) -> int:
        """One for each bank of each row."""
        return self.rows * self.banks

    @property
    def remedy(self) -> str:
        """Masks that are balanced on the banks."""
        return f"a mask with as many weights in each of {self.banks} banks of columns (method: bank) fills it"

    def check_memories(self, memories: Memories) -> None:
        """Every multiplier reads an activation of its own."""
        if memories.index is None:
            raise UserError("index: missing; dataflow banks reads places in banks")
        if memories.activations.banks != self.multipliers:
            raise UserError(f"activations.banks: {memories.activations.banks}, but a step reads {self.multipliers}")

    def check_matrix(self, matrix: PackedMatrix) -> None:
        """Every structure will do; what is not balanced is filled up."""
        counts = self.counts(matrix)
        refuse_fill(matrix, bool((counts != self.steps(matrix)[np.arange(len(counts)) // self.rows][:, None]).any()))

    def bank_columns(self, columns: int) -> int:
        """Columns of a bank; the last ones may have fewer."""
        return -(-columns // self.banks)

    def counts(self, matrix: PackedMatrix) -> Ints:
        """Kept weights [gates * rows, banks], gates of a cell side by side."""
        mask = by_cells(matrix)[1]
        size = self.bank_columns(matrix.columns)
        padded = np.pad(mask, ((0, 0), (0, size * self.banks - matrix.columns)))
        return padded.reshape(len(mask), self.banks, size).sum(2)

    def steps(self, matrix: PackedMatrix) -> Ints:
        """Of each group of rows."""
        fullest = self.counts(matrix).max(1)
        return np.pad(fullest, (0, -len(fullest) % self.rows)).reshape(-1, self.rows).max(1)

    def place_bits(self, columns: int) -> int:
        """Bits of a place in a bank, at least one."""
        return max(1, width_of(self.bank_columns(columns)))

    def packings(self, matrix: PackedMatrix, memories: Memories) -> tuple[Packing, Packing]:
        """Of a step's weights and of its places."""
        places = self.multipliers * self.place_bits(matrix.columns)
        return Packing(self.multipliers * matrix.bits, memories.weights.wide), Packing(places, memories.index.wide)

    def cost(self, matrix: PackedMatrix, act_bits: int, memories: Memories) -> ProductCost:
        """The sum of the groups' steps."""
        groups = self.steps(matrix)
        weights, places = self.packings(matrix, memories)
        each = max(weights.words_each, places.words_each)
        steps = int(groups.sum())
        words = weights.words(steps)
        index = places.words(steps) + Packing(LENGTH_BITS, memories.index.wide).words(len(groups))
        rows = np.minimum(matrix.gates * matrix.rows, np.arange(1, len(groups) + 1) * self.rows)
        return ProductCost(
            cycles=steps * each,
            macs=matrix.kept,
            executed=steps * self.multipliers,
            lost={"unequal": steps - matrix.kept / self.multipliers, "memory": float(steps * (each - 1))},
            accesses=Counter(
                weights=words * memories.weights.banks,
                index=index * memories.index.banks,
                activations=steps * self.multipliers,
                sums=matrix.gates * matrix.rows,
            ),
            words={"weights": np.array([words]), "index": np.array([index])},
            done=np.stack([np.cumsum(groups) * each, rows // matrix.gates], axis=1),
        )

    def vector_words(self, size: int, act_bits: int, memories: Memories) -> int:
        """Each bank has a bank's columns, in every row's copy."""
        return Packing(act_bits, memories.activations.word_bits).words(self.bank_columns(size))

    def place(self, matrix: PackedMatrix, memories: Memories) -> Placed:
        """Lengths of the groups, then step by step one place and one weight for each bank of each row."""
        steps = self.steps(matrix)
        weights = np.zeros((int(steps.sum()), self.rows, self.banks), np.int64)
        places = np.zeros_like(weights)
        values, mask = by_cells(matrix)
        begins, size = np.concatenate([[0], np.cumsum(steps)]), self.bank_columns(matrix.columns)
        rows, columns = np.nonzero(mask)
        banks = columns // size
        # How many kept weights of the same row and bank stand before.
        _, first, inverse = np.unique(rows * self.banks + banks, return_index=True, return_inverse=True)
        at = begins[rows // self.rows] + np.arange(len(rows)) - first[inverse], rows % self.rows, banks
        weights[at], places[at] = codes_of(values, matrix.bits)[rows, columns], columns % size
        place_bits = self.place_bits(matrix.columns)
        index = to_words(steps[:, None], LENGTH_BITS, memories.index.wide)
        index += to_words(places.reshape(len(places), -1), place_bits, memories.index.wide)
        return Placed([to_words(weights.reshape(len(weights), -1), matrix.bits, memories.weights.wide)], [index])
