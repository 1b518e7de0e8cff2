"""The formulas beside what is published of chips: `python -m frenchpress.hardware.published`.

No published system states all that a model needs beside a measured time, so agreement here is consistency and not a
validation. What was not published is named as an assumption in each line and in the chips' files. docs/hardware.md
discusses the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from frenchpress.common import run_main
from frenchpress.hardware.chip import Chip, load_chip
from frenchpress.hardware.cost import FrameCost, frame_cost
from frenchpress.hardware.energy import SUM_BITS, add_pj, multiplier_um2, multiply_pj, sram_um2
from frenchpress.hardware.totals import frame_energy
from frenchpress.packed.index import Level, Mask
from frenchpress.packed.model import GATES, PackedHead, PackedInput, PackedLstm, PackedMatrix, PackedModel, Requantizer

_SEED = 1
_INPUTS, _CELLS = 440, 512
"""Of the HCGS chip."""
_BLOCKS = Level(32, 4, 16), Level(4, 4, 16)
_EIE_LAYERS = {
    "AlexNet_FC6": (9216, 4096, 0.09, 0.351, 28.1, 30.3),
    "AlexNet_FC7": (4096, 4096, 0.09, 0.353, 11.7, 12.2),
    "AlexNet_FC8": (4096, 1000, 0.25, 0.375, 8.9, 9.9),
    "VGG16_FC6": (25088, 4096, 0.04, 0.183, 28.1, 34.4),
    "VGG16_FC7": (4096, 4096, 0.04, 0.375, 7.9, 8.7),
    "VGG16_FC8": (4096, 1000, 0.23, 0.411, 7.3, 8.4),
    "NT_We": (4096, 600, 0.10, 1.0, 5.2, 8.0),
    "NT_Wd": (600, 8791, 0.11, 1.0, 13.0, 13.9),
    "NT_LSTM": (1201, 2400, 0.10, 1.0, 6.5, 7.5),
}
"""Inputs, outputs, densities of weights and activations (both recalled, not seen), theoretical and actual time, us."""
_ESE_MATRICES = (4096, 153), (4096, 512), (512, 1024)
"""Of 1024 cells with a projection to 512: inputs, recurrent, projection."""
_ESE_DENSITY = 0.1122


@dataclass(frozen=True)
class Comparison:
    """A published figure beside that of the formulas."""

    what: str
    published: float
    here: float
    unit: str
    taken: str

    @property
    def ratio(self) -> float:
        """Of the formulas over the published."""
        return self.here / self.published


def random_blocks(rng: np.random.Generator, rows: int, columns: int, levels: tuple[Level, ...]) -> Mask:
    """A random mask of blocks in blocks."""
    if not levels:
        return np.ones((rows, columns), np.bool_)
    level, mask = levels[0], np.zeros((rows, columns), np.bool_)
    count = -(-columns // level.block)
    for top in range(0, rows, level.block):
        for number in rng.permutation(count)[: level.kept(count)]:
            piece = mask[top : top + level.block, number * level.block : (number + 1) * level.block]
            piece[:] = random_blocks(rng, *piece.shape, levels[1:])
    return mask


def _matrix(gates: int, bits: int, mask: Mask, levels: tuple[Level, ...] = ()) -> PackedMatrix:
    """Zeros in the places of a mask, which all gates share: the formulas look at no weight."""
    return PackedMatrix(gates, bits, np.zeros((gates * mask.shape[0], mask.shape[1]), np.int32), levels, (mask,))


def hcgs_model(layers: int, bits: int = 6, act_bits: int = 13) -> PackedModel:
    """The published network: 440 inputs, layers of 512 cells, blocks of 32 and 4 of which 4/16 are kept; no head."""
    rng, found, width = np.random.default_rng(_SEED), [], _INPUTS
    zeros = np.zeros(GATES * _CELLS, np.int32)
    for _ in range(layers):
        pair = [_matrix(GATES, bits, random_blocks(rng, _CELLS, n, _BLOCKS), _BLOCKS) for n in (width, _CELLS)]
        found.append(PackedLstm(act_bits, act_bits, Requantizer(), 1, 1, zeros, zeros, zeros, *pair))
        width = _CELLS
    given = PackedInput(5, 5, act_bits, np.zeros(_INPUTS // 11, np.float32), np.zeros(_INPUTS // 11, np.float32))
    one = np.zeros(1, np.int32)
    head = PackedMatrix(1, bits, np.zeros((1, _CELLS), np.int32))
    return PackedModel(given, tuple(found), PackedHead(act_bits, Requantizer(), 1, one, one, one, head))


def _lstm_cost(layers: int, chip: Chip) -> FrameCost:
    """Of the LSTM alone, as published figures count it; the memory of the weights has room for no more."""
    weights = replace(chip.memories.weights, words=chip.memories.weights.words + _CELLS)
    file = replace(chip.file, memories=replace(chip.memories, weights=weights))
    cost = frame_cost(hcgs_model(layers), replace(chip, file=file))
    return replace(cost, parts=tuple(part for part in cost.parts if part.name.startswith(("frame", "lstm"))))


def hcgs(chip: Chip) -> Iterator[Comparison]:
    """Memory, throughput and energy of the HCGS chip."""
    dense = {layers: GATES * _CELLS * (_INPUTS + _CELLS + (layers - 1) * 2 * _CELLS) for layers in (2, 3)}
    yield Comparison("weights of 3 x 512, a sixteenth of all", 288e3, dense[3] / 16 * 6 / 8, "B", "kB is 1000 bytes")
    blocks = sum(m.kept for m in hcgs_model(3).matrices[:-1]) * 6 / 8
    taken = "kB is 1024 bytes; of 14 blocks of 32 of the 440 inputs 4 are kept"
    yield Comparison("the same, kept blocks of 32 and 4 in 6 bits", 288 * 1024, blocks, "B", taken)
    cost = _lstm_cost(2, chip)
    tops = 2 * dense[2] / cost.microseconds / 1e6
    yield Comparison("throughput at 80 MHz, dense-equivalent", 0.16, tops, "TOPS", "64 multipliers, array 4 x 4 x 4")
    joules = sum(frame_energy(cost).values()) / 1e12
    yield Comparison("power at 80 MHz", 65, joules / cost.microseconds * 1e9, "mW", "1.2 V; Horowitz' table")
    yield Comparison("efficiency at 80 MHz", 2.45, 2 * dense[2] / joules / 1e12, "TOPS/W", "as above")
    # Horowitz' energies go with the square of the voltage, and so does what is given for them.
    slow = replace(chip, file=replace(chip.file, voltage=0.63))
    joules = sum(frame_energy(_lstm_cost(2, slow)).values()) / 1e12
    taken = "0.63 V: the voltage at which 2.45 becomes 8.93; then this is the line above"
    yield Comparison("efficiency at the low point", 8.93, 2 * dense[2] / joules / 1e12, "TOPS/W", taken)
    joules = sum(frame_energy(_lstm_cost(3, slow)).values()) / 1e12
    taken = "as above, at a sixteenth; published for TED-LIUM, at an eighth in the authors' code"
    yield Comparison("the same, three layers", 7.22, 2 * dense[3] / joules / 1e12, "TOPS/W", taken)


def _random_matrix(rng: np.random.Generator, outputs: int, columns: int, density: float) -> PackedMatrix:
    return _matrix(1, 4, rng.random((outputs, columns)) < density)


def eie_modules(chip: Chip) -> Iterator[Comparison]:
    """Power and area of one element by module, at work on AlexNet_FC7."""
    flow, memories = chip.dataflow, chip.memories
    inputs, outputs, density, active, *_ = _EIE_LAYERS["AlexNet_FC7"]
    matrix = _random_matrix(np.random.default_rng(_SEED), outputs, round(inputs * active), density)
    cost = flow.cost(matrix, 16, memories)
    mw = {  # pJ of all elements, over us of all, over elements
        name: cost.accesses[name] * chip.access_pj(name) / cost.cycles * chip.file.clock_mhz / flow.elements / 1000
        for name in ("weights", "index", "sums")
    }
    product = multiply_pj(16, 16, chip.scale) + add_pj(SUM_BITS, chip.scale)
    mw["arithmetic"] = cost.executed * product / cost.cycles * chip.file.clock_mhz / flow.elements / 1000
    taken = "no clock, no registers; at work on AlexNet_FC7"
    for module, name, published in (
        ("SpmatRead", "weights", 4.955), ("PtrRead", "index", 1.807), ("ArithmUnit", "arithmetic", 1.162),
        ("ActRW", "sums", 1.122),
    ):  # fmt: skip
        yield Comparison(f"power of {module}", published, mw[name], "mW", taken)
    yield Comparison("power of an element", 9.157, sum(mw.values()), "mW", taken)
    area = {name: sram_um2(getattr(memories, name).bits // flow.elements, chip.scale) for name in ("weights", "index")}
    area["arithmetic"] = multiplier_um2(16, 16, chip.scale)
    yield Comparison("area of SpmatRead", 469412, area["weights"], "um2", "calibrated: the area of a bit is from here")
    yield Comparison("area of PtrRead", 121849, area["index"], "um2", "32 kB, derived")
    yield Comparison("area of ArithmUnit", 3110, area["arithmetic"], "um2", "a multiplier of 16 bits, an adder of 32")
    taken = "without queue, ActRW, clock and filler cells"
    yield Comparison("area of 64 elements", 40.8, flow.elements * sum(area.values()) / 1e6, "mm2", taken)


def eie_layers(chip: Chip) -> Iterator[Comparison]:
    """Times of the nine layers, theoretical (all elements equally busy) and actual."""
    flow = chip.dataflow
    for name, (inputs, outputs, density, active, ideal, actual) in _EIE_LAYERS.items():
        matrix = _random_matrix(np.random.default_rng(_SEED), outputs, round(inputs * active), density)
        entries = flow.entries(matrix)
        even = entries.sum() / flow.elements / chip.file.clock_mhz
        taken = "size and densities recalled; random weights"
        yield Comparison(f"{name}, theoretical", ideal, even, "us", taken)
        waiting = flow.timing(entries) / chip.file.clock_mhz
        yield Comparison(f"{name}, actual", actual, waiting, "us", f"{taken}; queues of 8")


def ese(chip: Chip) -> Iterator[Comparison]:
    """The LSTM of ESE in one channel."""
    weights = sum(rows * columns for rows, columns in _ESE_MATRICES)
    even = _ESE_DENSITY * weights / chip.dataflow.multipliers / chip.file.clock_mhz
    taken = "density 0.1122, derived from the measurement; input of 153 recalled"
    yield Comparison("ESE, theoretical", 57.0, even, "us", taken)
    # The density counts what fills up long runs, so that nothing more must: runs of any length.
    flow, rng = replace(chip.dataflow, run_bits=16), np.random.default_rng(_SEED)
    times = [flow.timing(flow.entries(_random_matrix(rng, *shape, _ESE_DENSITY))) for shape in _ESE_MATRICES]
    taken = "entries at random, queues of 8; ESE prunes so that elements are balanced, and waits for memory too"
    yield Comparison("ESE, measured", 82.7, sum(times) / chip.file.clock_mhz, "us", taken)


def spartus(chip: Chip) -> Iterator[Comparison]:
    """The dense time of a layer of 1024 cells."""
    matrix = PackedMatrix(GATES, 8, np.zeros((4096, 1024 + 123), np.int32))
    cycles = chip.dataflow.cost(matrix, 16, chip.memories).cycles
    taken = "512 multipliers and an input of 123, derived; 46 x 1 us is published"
    yield Comparison("Spartus, dense", 45.9, cycles / chip.file.clock_mhz, "us", taken)


def comparisons(chips: Path) -> list[Comparison]:
    """All of them, with the chips' files in a directory."""
    eie = load_chip(chips / "eie45.yaml")
    return [
        *hcgs(load_chip(chips / "hcgs65.yaml")), *eie_modules(eie), *eie_layers(eie),
        *ese(load_chip(chips / "ese.yaml")), *spartus(load_chip(chips / "spartus_dense.yaml")),
    ]  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", type=Path, default=Path("chips"), help="directory of the chips' files (chips)")
    args = parser.parse_args()
    print("| figure | published | formulas | ratio | taken |\n|---|---:|---:|---:|---|")
    for c in comparisons(args.chips):
        print(f"| {c.what} | {c.published:g} {c.unit} | {c.here:.6g} {c.unit} | {c.ratio:.2f} | {c.taken} |")


if __name__ == "__main__":
    run_main(main)
