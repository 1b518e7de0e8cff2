"""What a frame costs on a chip: cycles, accesses and energy of each product and of the cells, by formulas.

docs/hardware.md has them with reasons. `frenchpress.hardware.simulator` steps through the same and must agree.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from frenchpress.common import UserError, blaming
from frenchpress.hardware.chip import Cells, Chip
from frenchpress.hardware.dataflows.base import Ints, ProductCost
from frenchpress.hardware.memory import NUMBER_BITS
from frenchpress.packed.gates import ENTRIES
from frenchpress.packed.model import GATES, PackedMatrix, PackedModel, Requantizer

CELL_CONSTANTS, CELL_TABLE, CELL_SUMS, CELL_STATE = 3 * GATES, 10, 2 * GATES, 2
"""Accesses for a cell: multipliers and biases; two entries of the table for each of five sigmoids; sums; its state."""
CELL_PRODUCTS = 2 * GATES + 5 + 4
"""Products for a cell: scales of the sums, between the table's entries, f * c, i * g, o * tanh, output."""
OUTPUT_CONSTANTS, OUTPUT_PRODUCTS = 2, 1
_MOSTLY = 0.8
"""Share of kept weights among those stored, below which a message says why."""


@dataclass(frozen=True)
class Part:
    """A line of the table: a product, the cells of a layer, the outputs of the head, or the coming in of a frame.

    `cycles`: by which it makes the frame longer; what happens beside a product does not. `lost`: of these, cycles of
    the whole array without a kept weight, by cause. `multiply_bits`: of the two numbers of its products.
    """

    name: str
    cycles: int = 0
    macs: int = 0
    executed: int = 0
    multiply_bits: tuple[int, int] = (NUMBER_BITS, NUMBER_BITS)
    lost: dict[str, float] = field(default_factory=dict)
    accesses: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class FrameCost:
    """A frame on a chip. `words`: taken up in the fullest bank of each memory; `content_bits`: of weights and index in
    the packed file.
    """

    chip: Chip
    parts: tuple[Part, ...]
    words: dict[str, int]
    content_bits: int

    @property
    def cycles(self) -> int:
        """Of one frame; all channels need the same."""
        return sum(part.cycles for part in self.parts)

    @property
    def macs(self) -> int:
        """Kept weights, those that are multiplied."""
        return sum(part.macs for part in self.parts)

    @property
    def microseconds(self) -> float:
        """From the frame's coming in to its logits."""
        return self.cycles / self.chip.file.clock_mhz

    @property
    def utilisation(self) -> float:
        """Share of multipliers and cycles that did a kept weight."""
        return self.macs / (self.cycles * self.chip.dataflow.multipliers)

    @property
    def accesses(self) -> Counter[str]:
        """Words of single banks, by memory."""
        return sum((part.accesses for part in self.parts), Counter())

    @property
    def has_energy(self) -> bool:
        """Whether a table describes the chip."""
        return self.chip.file.energy.table != "none"

    @property
    def occupied_bits(self) -> dict[str, int]:
        """Bits of the words taken up in each memory, in all of its banks."""
        return {name: words * getattr(self.chip.memories, name).wide for name, words in self.words.items()}


def frame_cost(model: PackedModel, chip: Chip) -> FrameCost:
    """What a frame of `model` costs on `chip`; UserError that names the matrix, or the memory, that does not fit."""
    if model.holds:
        raise UserError("delta: chips have no place for inputs and outputs that are held back")
    parts, use = [_frame_part(model)], _Use(chip)
    around = model.input.left + 1 + model.input.right  # those between two that are seen are kept too
    use.vector(around * model.input.dim, model.layers[0].input_bits)
    for number, layer in enumerate(model.layers):
        after = model.layers[number + 1].requantizer if number + 1 < len(model.layers) else model.head.requantizer
        along, along_cost = use.product(f"lstm{number} input", layer.input_matrix, layer.input_bits)
        back, back_cost = use.product(f"lstm{number} recurrent", layer.recurrent_matrix, layer.output_bits)
        parts += [along, back, _cells_part(f"lstm{number} cells", layer.cells, after, back_cost, chip.file.cells)]
        use.layer(layer.cells, layer.output_bits)
        if after.multiplier:
            bits = model.layers[number + 1].input_bits if number + 1 < len(model.layers) else model.head.input_bits
            use.vector(layer.cells, bits)
    head, head_cost = use.product("head", model.head.matrix, model.head.input_bits)
    parts += [head, _outputs_part(model.outputs, head_cost, chip.file.cells)]
    use.numbers(model)
    content = sum(matrix.content_bits for matrix in model.matrices)
    return FrameCost(chip, tuple(parts), use.checked(), content)


class _Use:
    """Words that come together in the memories of a chip."""

    def __init__(self, chip: Chip) -> None:
        self._chip, self._words = chip, {name: np.zeros(1, np.int64) for name in chip.memories.present()}
        self._kept = self._stored = 0

    def product(self, name: str, matrix: PackedMatrix, act_bits: int) -> tuple[Part, ProductCost]:
        """A matrix with the vector that comes to it."""
        memories, dataflow = self._chip.memories, self._chip.dataflow
        with blaming(f"{self._chip.name}: {name}"):
            if act_bits > memories.activations.word_bits:
                raise UserError(f"activations of {act_bits} bits; a word of memories.activations is smaller")
            dataflow.check_matrix(matrix)
            cost = dataflow.cost(matrix, act_bits, memories)
        for memory, words in cost.words.items():
            self._words[memory] = self._words[memory] + words
        self._kept, self._stored = self._kept + cost.macs, self._stored + cost.executed
        bits = matrix.bits, act_bits
        return Part(name, cost.cycles, cost.macs, cost.executed, bits, cost.lost, cost.accesses), cost

    def vector(self, size: int, act_bits: int) -> None:
        """Room for activations."""
        self._words["activations"] += self._chip.dataflow.vector_words(size, act_bits, self._chip.memories)

    def layer(self, cells: int, act_bits: int) -> None:
        """Outputs twice, since the next ones come while the last ones are still read."""
        self.vector(cells, act_bits)
        self.vector(cells, act_bits)

    def numbers(self, model: PackedModel) -> None:
        """Sums, states and constants, one to a word."""
        sums = max(model.outputs, *(2 * GATES * layer.cells for layer in model.layers))
        states = sum(layer.cells for layer in model.layers)
        constants = ENTRIES + 1 + sum(3 * len(layer.bias) for layer in model.layers) + 2 * model.outputs
        memories = self._chip.memories
        self._words["sums"] += -(-(sums + states) // memories.sums.banks)
        self._words["constants"] += -(-constants // memories.constants.banks)

    def checked(self) -> dict[str, int]:
        """Words in the fullest bank of each memory; UserError where there are more than it has."""
        found = {name: int(words.max()) for name, words in self._words.items()}
        for name, sram in self._chip.memories.present().items():
            if found[name] > sram.words:
                kilo = found[name] * sram.wide / 8000, sram.bits / 8000
                needs = f"the model needs {found[name]} words in a bank ({kilo[0]:.1f} kB in all), there are "
                needs += f"{sram.words} ({kilo[1]:.1f} kB)"
                if name == "weights" and self._kept < _MOSTLY * self._stored:
                    share = 100 * self._kept / self._stored
                    needs += f"; {share:.0f} % of what it stores is kept, the rest zeros: {self._chip.dataflow.remedy}"
                raise UserError(f"{self._chip.name}: memories.{name}: {needs}")
        return found


def _frame_part(model: PackedModel) -> Part:
    """The frame's features are written while the frame before is computed."""
    return Part("frame", accesses=Counter(activations=model.input.dim))


def after_products(done: Ints, total: int, cells: Cells) -> int:
    """Cycle by which the last of `total` cells is finished, when by the cycles in `done` so many can begin.

    One after the other: each begins when the one before has, and its own rows are, complete. That is, the largest over
    all of `done` of its cycle and the time for the cells that then are left.
    """
    begun = np.concatenate([[0], done[:-1, 1]])
    left = total // cells.units - begun // cells.units + (total % cells.units > 0)
    return int((done[:, 0] + left * cells.cycles).max()) + cells.latency


def _cells_part(name: str, count: int, after: Requantizer, product: ProductCost, cells: Cells) -> Part:
    requantized = int(after.multiplier != 0)
    accesses = Counter(
        constants=count * (CELL_CONSTANTS + CELL_TABLE),
        sums=count * (CELL_SUMS + CELL_STATE),
        activations=count * (1 + requantized),
    )
    cycles = after_products(product.done, count, cells) - product.cycles
    return Part(name, cycles, executed=count * (CELL_PRODUCTS + requantized), accesses=accesses)


def _outputs_part(count: int, product: ProductCost, cells: Cells) -> Part:
    accesses = Counter(constants=count * OUTPUT_CONSTANTS, sums=count)
    cycles = after_products(product.done, count, cells) - product.cycles
    return Part("outputs", cycles, executed=count * OUTPUT_PRODUCTS, accesses=accesses)
