"""Column by column: single weights, wherever they are. EIE (Han et al., ISCA 2016), ESE (Han et al., FPGA 2017).

Row r belongs to element r mod `elements`. One activation a cycle goes to all elements, into a queue of `fifo` entries
at each; an element multiplies it with its kept weights of that column, one a cycle, and takes at least a cycle for a
column. With short queues all wait for the element that has most to do. An entry in memory is a weight and the number of
removed ones before it, in `run_bits` bits; a longer run needs entries of weight zero.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from frenchpress.common import UserError
from frenchpress.common.typed import ranged
from frenchpress.hardware.dataflows.base import Ints, Placed, ProductCost, codes_of
from frenchpress.hardware.dataflows.dense import refuse_fill
from frenchpress.hardware.memory import Memories, Packing, to_words
from frenchpress.packed.model import PackedMatrix


@dataclass(frozen=True)
class Columns:
    """`elements` processing elements, each with a multiplier and a bank of weights, index and sums of its own.

    `pointer_bits`: of the number that says where a column of an element ends.
    """

    elements: int | None = ranged(None, low=1, high=65536)
    fifo: int = ranged(8, low=1, high=65536)
    run_bits: int = ranged(4, low=1, high=16)
    pointer_bits: int = ranged(16, low=1, high=64)

    def __post_init__(self) -> None:
        if self.elements is None:
            raise UserError("elements: missing, the number of processing elements")

    @property
    def multipliers(self) -> int:
        """One for each element."""
        return self.elements

    @property
    def remedy(self) -> str:
        """Fewer entries of zero."""
        return f"more than dataflow.run_bits: {self.run_bits} break fewer runs"

    def check_memories(self, memories: Memories) -> None:
        """Each element has banks of its own, and an entry fits into a word."""
        if memories.index is None:
            raise UserError("index: missing; dataflow columns reads where columns end")
        for name in ("weights", "index", "sums"):
            banks = getattr(memories, name).banks
            if banks != self.elements:
                raise UserError(f"{name}.banks: {banks}, but there are {self.elements} elements with one each")
        bits = memories.index.word_bits
        if bits < self.pointer_bits:
            raise UserError(f"index.word_bits: {bits} is below {self.pointer_bits}, the bits of a pointer")

    def check_matrix(self, matrix: PackedMatrix) -> None:
        """Every structure will do, as long as runs can be broken by zeros."""
        entries = self.entries(matrix)
        refuse_fill(matrix, int(entries.sum()) > matrix.kept)
        most = int(entries.sum(1).max())
        if most >> self.pointer_bits:
            raise UserError(f"an element has {most} entries, past dataflow.pointer_bits: {self.pointer_bits}")

    def entry_bits(self, matrix: PackedMatrix) -> int:
        """Bits of weight and run."""
        return matrix.bits + self.run_bits

    def entries(self, matrix: PackedMatrix) -> Ints:
        """Entries [elements, columns], those of weight zero included."""
        mask = matrix.mask
        counts = np.zeros((self.elements, matrix.columns), np.int64)
        for element in range(min(self.elements, len(mask))):
            own = mask[element :: self.elements]
            column, place = np.nonzero(own.T)
            first = np.diff(column, prepend=-1) != 0
            runs = np.where(first, place, np.diff(place, prepend=0) - 1)
            np.add.at(counts[element], column, 1 + runs // (1 << self.run_bits))
        return counts

    def timing(self, entries: Ints) -> int:
        """Cycles from the `entries` [elements, columns] of the activations that are sent.

        With b(j) the cycle in which activation j is sent and s(p, j) that in which element p takes it from its queue:
        b(j) = max(b(j-1) + 1, max over p of s(p, j - fifo)), s(p, j) = max(b(j) + 1, s(p, j-1) + max(1, entries)).
        """
        sent, free = -1, np.zeros(len(entries), np.int64)
        taken: list[int] = []
        for number, count in enumerate(entries.T):
            sent = max(sent + 1, taken[number - self.fifo] if number >= self.fifo else 0)
            start = np.maximum(sent + 1, free)
            taken.append(int(start.max()))
            free = start + np.maximum(1, count)
        return int(free.max())

    def cost(self, matrix: PackedMatrix, act_bits: int, memories: Memories) -> ProductCost:
        """See `timing`; every entry reads and writes a sum."""
        entries = self.entries(matrix)
        cycles, total = self.timing(entries), int(entries.sum())
        weights, pointers = self._packings(matrix, memories)
        words = np.array([weights.words(int(n)) for n in entries.sum(1)])
        index = np.full(self.elements, pointers.words(matrix.columns))
        vector = Packing(act_bits, memories.activations.wide)
        return ProductCost(
            cycles=cycles,
            macs=matrix.kept,
            executed=total,
            lost={"fill": (total - matrix.kept) / self.elements, "unequal": cycles - total / self.elements},
            accesses=Counter(
                weights=int(words.sum()),
                index=int(index.sum()),
                activations=vector.words(matrix.columns) * memories.activations.banks,
                sums=2 * total,
            ),
            words={"weights": words, "index": index},
            done=np.array([[cycles, matrix.rows]]),
        )

    def _packings(self, matrix: PackedMatrix, memories: Memories) -> tuple[Packing, Packing]:
        entry = self.entry_bits(matrix)
        if entry > memories.weights.word_bits:
            raise UserError(f"an entry has {entry} bits, more than a word of memories.weights")
        return Packing(entry, memories.weights.word_bits), Packing(self.pointer_bits, memories.index.word_bits)

    def vector_words(self, size: int, act_bits: int, memories: Memories) -> int:
        """One behind the other in all banks side by side."""
        return Packing(act_bits, memories.activations.wide).words(size)

    def place(self, matrix: PackedMatrix, memories: Memories) -> Placed:
        """Of each element: its entries, column by column, and for each column the number of entries up to its end."""
        weights, index = [], []
        for element in range(self.elements):
            entries, ends = self._element(matrix, element)
            codes = np.array(entries, np.int64).reshape(-1, 1)
            weights.append(to_words(codes, self.entry_bits(matrix), memories.weights.word_bits))
            index.append(to_words(np.array(ends)[:, None], self.pointer_bits, memories.index.word_bits))
        return Placed(weights, index)

    def _element(self, matrix: PackedMatrix, element: int) -> tuple[list[int], list[int]]:
        codes = codes_of(matrix.values[element :: self.elements], matrix.bits)
        mask, top = matrix.mask[element :: self.elements], (1 << self.run_bits) - 1
        entries: list[int] = []
        ends: list[int] = []
        for column in range(matrix.columns):
            place = -1
            for row in np.flatnonzero(mask[:, column]).tolist():
                run = row - place - 1
                entries += [top << matrix.bits] * (run // (top + 1))
                entries.append(run % (top + 1) << matrix.bits | int(codes[row, column]))
                place = row
            ends.append(len(entries))
        return entries, ends
