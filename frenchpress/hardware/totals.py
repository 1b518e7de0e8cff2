"""Energy and area of a frame's cost."""

from __future__ import annotations

from frenchpress.hardware.chip import Chip
from frenchpress.hardware.cost import FrameCost, Part
from frenchpress.hardware.energy import SUM_BITS, add_pj, multiplier_um2, multiply_pj, sram_um2

IDLE, ARITHMETIC = "idle", "arithmetic"
SHARED = "weights", "index"
"""Memories that all channels read together."""


def part_energy(part: Part, chip: Chip) -> dict[str, float]:
    """pJ of a part of a frame, by where they go: arithmetic, each memory, idle."""
    energy, scale = chip.file.energy, chip.scale
    product = multiply_pj(*part.multiply_bits, scale) if energy.multiply_pj is None else energy.multiply_pj
    total = add_pj(SUM_BITS, scale) if energy.add_pj is None else energy.add_pj
    found = {ARITHMETIC: part.executed * (product + total)}
    for name in chip.memories.present():
        channels = chip.file.channels if name in SHARED else 1
        found[name] = part.accesses[name] * chip.access_pj(name) / channels
    microseconds = part.cycles / chip.file.clock_mhz
    return found | {IDLE: energy.idle_mw * microseconds * 1000 / chip.file.channels}


def frame_energy(cost: FrameCost) -> dict[str, float]:
    """pJ of a frame, by where they go."""
    found: dict[str, float] = {}
    for part in cost.parts:
        for name, pj in part_energy(part, cost.chip).items():
            found[name] = found.get(name, 0.0) + pj
    return found


def area_mm2(chip: Chip, weight_bits: int, act_bits: int) -> dict[str, float]:
    """mm2 of the multipliers with their adders, and of each memory on the chip. Nothing else is counted."""
    found = {ARITHMETIC: chip.multipliers * multiplier_um2(weight_bits, act_bits, chip.scale) / 1e6}
    for name, sram in chip.memories.present().items():
        channels = 1 if name in SHARED else chip.file.channels
        found[name] = 0.0 if sram.kind == "dram" else channels * sram_um2(sram.bits, chip.scale) / 1e6
    return found
