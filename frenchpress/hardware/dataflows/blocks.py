"""Block-sequential, as in the HCGS chip (Kadetotad et al., JSSC 2020): kept blocks one after the other.

A step takes `columns` activations, which one number of the index selects, and multiplies them with the weights of
`rows` rows in `gates` gates. The index is that of the packed file; a decoder reads one of its numbers a cycle, ahead of
the multipliers, and these wait for it where a block needs more numbers than it gives steps.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.common.bits import width_of
from frenchpress.common.typed import ranged
from frenchpress.hardware.dataflows.base import Ints, Placed, ProductCost, codes_of
from frenchpress.hardware.dataflows.dense import refuse_fill
from frenchpress.hardware.memory import Memories, Packing, to_words
from frenchpress.packed.index import Level, Mask
from frenchpress.packed.model import PackedMatrix


class Block(NamedTuple):
    """A kept block of the finest level: its place in one gate's matrix, and numbers of the index up to its own."""

    top: int
    left: int
    height: int
    width: int
    numbers: int


class Tile(NamedTuple):
    """What one step multiplies: rows and columns of one gate's matrix, and the first of the gates."""

    top: int
    left: int
    height: int
    width: int
    gate: int


@dataclass(frozen=True)
class Blocks:
    """An array of `gates` x `rows` x `columns` multipliers."""

    gates: int = ranged(1, low=1, high=4)
    rows: int = ranged(1, low=1, high=4096)
    columns: int = ranged(1, low=1, high=4096)

    @property
    def multipliers(self) -> int:
        """One for each weight of a step."""
        return self.gates * self.rows * self.columns

    @property
    def remedy(self) -> str:
        """Blocks that fill the array."""
        side = math.lcm(self.rows, self.columns)
        example = f"hcgs: {{blocks: [{8 * side}, {side}]}}"
        return f"smallest blocks of {side}, such as {example}, fill its {self.rows} x {self.columns}"

    def check_memories(self, memories: Memories) -> None:
        """The sums of a step come and go at once."""
        if memories.index is None:
            raise UserError("index: missing; dataflow blocks reads numbers of blocks")
        if memories.sums.banks < self.gates * self.rows:
            raise UserError(f"sums.banks: {memories.sums.banks}, but a step has {self.gates * self.rows} sums")

    def check_matrix(self, matrix: PackedMatrix) -> None:
        """Blocks in blocks, or dense."""
        if matrix.masks and not matrix.levels:
            raise UserError("not blocks in blocks; dataflow blocks takes hcgs, guided, dynamic or dense")
        refuse_fill(matrix, any(block[2] % self.rows or block[3] % self.columns for block in self.blocks(matrix, 0)))

    def shared(self, matrix: PackedMatrix) -> int:
        """Gates that have the same mask and whose weights a step may take at once."""
        return matrix.gates // max(1, len(matrix.masks))

    def width(self, matrix: PackedMatrix) -> int:
        """Gates of a step."""
        return min(self.gates, self.shared(matrix))

    def blocks(self, matrix: PackedMatrix, mask: int) -> Iterator[Block]:
        """Kept blocks in the order of the index; of a dense matrix all pieces of the array's size."""
        if matrix.masks:
            yield from kept_blocks(matrix.masks[mask], matrix.levels)
            return
        for top in range(0, matrix.rows, self.rows):
            for left in range(0, matrix.columns, self.columns):
                height, width = min(self.rows, matrix.rows - top), min(self.columns, matrix.columns - left)
                yield Block(top, left, height, width, 0)

    def tiles(self, block: Block, first: int, gates: int, at_once: int) -> Iterator[Tile]:
        """Steps of a block whose mask holds for `gates` gates from `first` on."""
        for gate in range(first, first + gates, at_once):
            for top in range(block.top, block.top + block.height, self.rows):
                for left in range(block.left, block.left + block.width, self.columns):
                    height = min(self.rows, block.top + block.height - top)
                    yield Tile(top, left, height, min(self.columns, block.left + block.width - left), gate)

    def walk(self, matrix: PackedMatrix) -> Iterator[tuple[Block, list[Tile]]]:
        """All of the matrix: blocks, mask after mask, each with its steps. `numbers` counts on through the masks."""
        gates, at_once, before = self.shared(matrix), self.width(matrix), 0
        for mask in range(matrix.gates // gates):
            block = None
            for block in self.blocks(matrix, mask):
                tiles = list(self.tiles(block, mask * gates, gates, at_once))
                yield block._replace(numbers=before + block.numbers), tiles
            before += block.numbers if block else 0

    def _weights(self, matrix: PackedMatrix, memories: Memories) -> Packing:
        return Packing(self.width(matrix) * self.rows * self.columns * matrix.bits, memories.weights.wide)

    def cost(self, matrix: PackedMatrix, act_bits: int, memories: Memories) -> ProductCost:
        """With D numbers up to a block and S cycles of its steps: T = max(T of the block before, D) + S."""
        weights, vector = self._weights(matrix, memories), Packing(act_bits, memories.activations.wide)
        time = busy = reads = 0
        order: list[Tile] = []
        done: dict[int, int] = {}
        for block, tiles in self.walk(matrix):
            touched = [vector.touched(tile.left, tile.width) for tile in tiles]
            cycles = sum(max(weights.words_each, words) for words in touched)
            time, busy, reads = max(time, block.numbers) + cycles, busy + cycles, reads + sum(touched)
            order += tiles
            done[block.top // self.band_rows(matrix)] = time
        at_once, steps = self.width(matrix), len(order)
        index = Packing(1, memories.index.wide).words(len(self.index_bits(matrix)))
        words = weights.words(steps)
        return ProductCost(
            cycles=time,
            macs=matrix.kept,
            executed=steps * at_once * self.rows * self.columns,
            lost={
                "gates": steps * (1 - at_once / self.gates),
                "edges": steps * at_once / self.gates - matrix.kept / self.multipliers,
                "memory": float(busy - steps),
                "index": float(time - busy),
            },
            accesses=Counter(
                weights=words * memories.weights.banks,
                index=index * memories.index.banks,
                activations=reads * memories.activations.banks,
                sums=2 * changes_of(order) * self.rows * at_once,
            ),
            words={"weights": np.array([words]), "index": np.array([index])},
            done=self.finished(matrix, done),
        )

    def band_rows(self, matrix: PackedMatrix) -> int:
        """Rows of one gate in a row of coarsest blocks, which are complete together."""
        return matrix.levels[0].block if matrix.masks else self.rows

    def finished(self, matrix: PackedMatrix, times: dict[int, int]) -> Ints:
        """`done` of ProductCost, from the cycle by which each band was visited last."""
        height = self.band_rows(matrix)
        ends = [times[band] for band in sorted(times)]
        rows = [min(matrix.rows, (band + 1) * height) for band in sorted(times)]
        return np.stack([np.maximum.accumulate(ends), rows], axis=1)

    def vector_words(self, size: int, act_bits: int, memories: Memories) -> int:
        """One behind the other in all banks side by side."""
        return Packing(act_bits, memories.activations.wide).words(size)

    def index_bits(self, matrix: PackedMatrix) -> NDArray[np.uint8]:
        """The index of all masks, one behind the other, as in the packed file."""
        return np.concatenate([np.zeros(0, np.uint8), *matrix.index])

    def place(self, matrix: PackedMatrix, memories: Memories) -> Placed:
        """Weights step by step, gate by gate, row by row; zeros where a block is smaller than the array."""
        at_once = self.width(matrix)
        gates = codes_of(matrix.values, matrix.bits).reshape(matrix.gates, matrix.rows, matrix.columns)
        tiles = [tile for _, found in self.walk(matrix) for tile in found]
        codes = np.zeros((len(tiles), at_once, self.rows, self.columns), np.int64)
        for number, (top, left, height, width, gate) in enumerate(tiles):
            piece = gates[gate : gate + at_once, top : top + height, left : left + width]
            codes[number, : len(piece), :height, :width] = piece
        weights = to_words(codes.reshape(len(tiles), -1), matrix.bits, memories.weights.wide)
        index = to_words(self.index_bits(matrix).astype(np.int64)[:, None], 1, memories.index.wide)
        return Placed([weights], [index])


def changes_of(tiles: list[Tile]) -> int:
    """How often other rows come: sums stay in registers until then."""
    rows = [(tile.top, tile.gate) for tile in tiles]
    return sum(row != before for row, before in zip(rows, [None, *rows]))


def kept_blocks(mask: Mask, levels: tuple[Level, ...]) -> Iterator[Block]:
    """Kept blocks of the finest of `levels`, in the order of the index."""
    numbers = 0

    def visit(top: int, left: int, height: int, width: int, depth: int) -> Iterator[Block]:
        nonlocal numbers
        if depth == len(levels):
            yield Block(top, left, height, width, numbers)
            return
        side = levels[depth].block
        costs = width_of(-(-width // side)) > 0
        for y in range(top, top + height, side):
            rows = min(side, top + height - y)
            columns = range(left, left + width, side)
            kept = [x for x in columns if mask[y : y + rows, x : min(x + side, left + width)].any()]
            numbers += len(kept) * costs if depth + 1 < len(levels) else 0
            for x in kept:
                numbers += costs if depth + 1 == len(levels) else 0
                yield from visit(y, x, rows, min(side, left + width - x), depth + 1)

    yield from visit(0, 0, *mask.shape, 0)
