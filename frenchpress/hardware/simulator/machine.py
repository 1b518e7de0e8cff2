"""A chip that executes a packed model from its memories: the runtime's logits to the bit, and the cycles it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchpress.hardware.chip import Chip
from frenchpress.hardware.dataflows import Banks, Blocks, Columns, Dense
from frenchpress.hardware.simulator.banks import run_banks
from frenchpress.hardware.simulator.blocks import run_blocks
from frenchpress.hardware.simulator.cells import CellUnit, requantized
from frenchpress.hardware.simulator.columns import run_columns
from frenchpress.hardware.simulator.dense import run_dense
from frenchpress.hardware.simulator.job import Job
from frenchpress.hardware.simulator.ram import Numbers, Ram, Vector
from frenchpress.packed.memories import network_memories, network_sizes
from frenchpress.packed.model import GATES, PackedModel

RUNS: dict[type, Callable[..., int]] = {Dense: run_dense, Banks: run_banks, Columns: run_columns, Blocks: run_blocks}
"""What goes through a product, by dataflow."""


@dataclass
class Trace:
    """What a frame took: cycles of each part in order, and accesses of each memory."""

    cycles: dict[str, int] = field(default_factory=dict)
    accesses: Counter[str] = field(default_factory=Counter)


class Machine:
    """A packed model in the memories of a chip, at the start of an utterance. After loading only words, and the sizes
    that a manifest of memory images has, are looked at. `trace`: of the last frame.
    """

    def __init__(self, model: PackedModel, chip: Chip) -> None:
        self._chip, self._sizes, self.trace = chip, network_sizes(model), Trace()
        self._counts: Counter[str] = Counter()
        self._load_matrices(model)
        self._load_numbers(model)
        self._layers = [name for name in self._sizes if name.startswith("lstm")]
        self._vectors()

    # ---- loading ----

    def _load_matrices(self, model: PackedModel) -> None:
        """Weights and index of all matrices, one behind the other; where each begins in each bank."""
        names = [f"{name}_{kind}" for name in self._sizes if "lstm" in name for kind in ("input", "recurrent")]
        flow, memories = self._chip.dataflow, self._chip.memories
        words: dict[str, list[list[int]]] = {}
        self._starts: dict[str, dict[str, list[int]]] = {}
        for name, matrix in zip([*names, "head"], model.matrices):
            placed = flow.place(matrix, memories)
            self._starts[name] = {}
            for memory, banks in (("weights", placed.weights), ("index", placed.index)):
                lists = words.setdefault(memory, [[] for _ in banks])
                self._starts[name][memory] = [len(bank) for bank in lists]
                for bank, more in zip(lists, banks):
                    bank += more
        self.words = {memory: max(map(len, banks)) for memory, banks in words.items()}
        self._rams = {memory: self._ram(memory, banks) for memory, banks in words.items()}

    def _ram(self, memory: str, banks: list[list[int]]) -> list[Ram]:
        """One for each bank, or one for all of them where they are read side by side."""
        sram = getattr(self._chip.memories, memory)
        if sram is None:  # a dense chip has no index
            return []
        together = len(banks) == 1
        bits, number = (sram.wide, sram.banks) if together else (sram.word_bits, 1)
        return [Ram(memory, words, bits, number, self._counts) for words in banks]

    def _load_numbers(self, model: PackedModel) -> None:
        """Constants as in the memory images, and room for sums and states."""
        values: list[int] = []
        self._at: dict[str, int] = {}
        for memory in network_memories(model):
            if memory.name.endswith(("multiplier", "bias", "sigmoid")):
                self._at[memory.name] = len(values)
                values += memory.numbers.tolist()
        self._constants = Numbers("constants", values, self._counts)
        cells = [self._sizes[name]["cells"] for name in self._sizes if "lstm" in name]
        self._most = max(2 * GATES * max(cells), self._sizes["head"]["outputs"])
        # One more for what lanes beyond a matrix write.
        self._sums = Numbers("sums", [0] * (self._most + sum(cells) + 1), self._counts)

    def _vector(self, size: int, bits: int) -> Vector:
        sram = self._chip.memories.activations
        return Vector(size, bits, sram.word_bits, sram.banks, self._counts)

    def _vectors(self) -> None:
        """Of each layer what comes in, its last outputs and the next ones; and what comes to the head."""
        self._inputs: dict[str, Vector] = {}
        self._outputs: dict[str, list[Vector]] = {}
        for name in [*self._layers, "head"]:
            sizes = self._sizes[name]
            columns = sizes["matrix" if name == "head" else "input_matrix"]["columns"]
            if name == self._layers[0] or sizes["requantizer"]["multiplier"]:
                self._inputs[name] = self._vector(columns, sizes["input_bits"])
            if name != "head":
                self._outputs[name] = [self._vector(sizes["cells"], sizes["output_bits"]) for _ in range(2)]

    # ---- running ----

    def run(self, frames: NDArray[np.int64]) -> NDArray[np.int32]:
        """An utterance of quantized frames [T, dim] -> logits int32 [T, outputs], 16 fraction bits."""
        self._sums.clear(0, self._most)
        for _, count, start in self._states():
            self._sums.clear(start, count)
        for last, _ in self._outputs.values():
            for at in range(last.size):
                last.write(at, 0, counted=False)
        given = self._sizes["features"]
        near = np.arange(-given["left"], given["right"] + 1, given["stride"])
        around = np.clip(np.arange(len(frames))[:, None] + near, 0, len(frames) - 1)
        return np.array([self._frame(frames[each].ravel().tolist()) for each in around], np.int32)

    def _states(self) -> list[tuple[str, int, int]]:
        """Layer, cells, and where its cell states begin."""
        found, start = [], self._most
        for name in self._layers:
            found.append((name, self._sizes[name]["cells"], start))
            start += self._sizes[name]["cells"]
        return found

    def _frame(self, spliced: list[int]) -> list[int]:
        """Logits of one frame. Of what comes in, only the newest frame is counted: the others were there."""
        self._counts.clear()
        self.trace = Trace()
        dim = self._sizes["features"]["dim"]
        first = self._sizes[self._layers[0]]
        for at, value in enumerate(requantized(spliced, first["requantizer"], first["input_bits"])):
            self._inputs[self._layers[0]].write(at, value, counted=at >= len(spliced) - dim)
        previous = self._inputs[self._layers[0]]
        for name, count, start in self._states():
            previous = self._layer(name, count, start, self._inputs.get(name, previous))
        logits = self._head(self._inputs.get("head", previous))
        self.trace.accesses = Counter(self._counts)
        return logits

    def _product(self, name: str, label: str, sizes: dict[str, Any], vector: Vector, base: int) -> dict[int, int]:
        """A product into the sums from `base` on: the cycle by which so many rows are complete."""
        self._sums.clear(base, sizes["gates"] * sizes["rows"])
        starts = self._starts[name]
        weights, index = (list(zip(self._rams[memory], starts[memory])) for memory in ("weights", "index"))
        done: dict[int, int] = {}
        job = Job(sizes, weights, index, vector, self._sums, base)
        run = RUNS[type(self._chip.dataflow)]
        self.trace.cycles[label] = run(self._chip.dataflow, job, lambda cycle, rows: done.update({rows: cycle}))
        return done

    def _layer(self, name: str, count: int, start: int, x: Vector) -> Vector:
        sizes, (last, following) = self._sizes[name], self._outputs[name]
        self._product(f"{name}_input", f"{name} input", sizes["input_matrix"], x, 0)
        done = self._product(f"{name}_recurrent", f"{name} recurrent", sizes["recurrent_matrix"], last, GATES * count)
        unit = CellUnit(self._chip.file.cells, self._sums, self._constants, self._at, sizes, name)
        after = [*self._layers, "head"][self._layers.index(name) + 1]
        for cell in range(count):
            value = unit.cell(cell, start)
            following.write(cell, value)
            if after in self._inputs:
                to = self._sizes[after]
                self._inputs[after].write(cell, requantized([value], to["requantizer"], to["input_bits"])[0])
        self.trace.cycles[f"{name} cells"] = unit.time(done, count) - self.trace.cycles[f"{name} recurrent"]
        self._outputs[name].reverse()
        return following

    def _head(self, x: Vector) -> list[int]:
        sizes = self._sizes["head"]
        done = self._product("head", "head", sizes["matrix"], x, 0)
        unit = CellUnit(self._chip.file.cells, self._sums, self._constants, self._at, sizes, "head")
        logits = [unit.output(k) for k in range(sizes["outputs"])]
        self.trace.cycles["outputs"] = unit.time(done, sizes["outputs"]) - self.trace.cycles["head"]
        return logits
