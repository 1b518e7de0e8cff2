"""Energy and area of arithmetic and memories, from published tables.

Energy: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, at 45 nm and 0.9 V. Between
two rows of a table, and beyond its last one, costs follow the power law through the two nearest rows: about the square
of the bits for a multiplier, the square root of the capacity for a memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

NODE_NM, VOLTAGE = 45.0, 0.9
"""Of the table."""

_Points = Sequence[tuple[float, float]]
_MULTIPLY_PJ = (8, 0.2), (32, 3.1)
_ADD_PJ = (8, 0.03), (16, 0.05), (32, 0.1)
_SRAM_PJ = (8 * 8192, 10.0), (8 * 32768, 20.0), (8 * 2**20, 100.0)  # bits of a memory, for 64 bits of it
_SRAM_WORD = 64
_DRAM_PJ_PER_BIT = 20.0  # 640 pJ for 32 bits; does not go with the node of the chip

_MULTIPLY_UM2 = (8, 282.0), (32, 3495.0)
_ADD_UM2 = (8, 36.0), (16, 67.0), (32, 137.0)
SRAM_UM2_PER_BIT = 0.4477
"""Not in Horowitz' table: module SpmatRead of EIE (ISCA 2016, 45 nm), 469412 um2 for 131072 bytes."""

SUM_BITS = 32
"""Of an accumulator."""


def power_law(points: _Points, x: float) -> float:
    """Through the two `points` (x ascending) that are nearest to `x`, straight in logarithms."""
    pairs = list(zip(points, points[1:]))
    (x0, y0), (x1, y1) = next((pair for pair in pairs if x <= pair[1][0]), pairs[-1])
    return y0 * (x / x0) ** (math.log(y1 / y0) / math.log(x1 / x0))


@dataclass(frozen=True)
class Scale:
    """From the table to a chip: energy goes with node (capacitance) and voltage squared, area with node squared."""

    node_nm: float
    voltage: float

    @property
    def energy(self) -> float:
        """Factor on an energy."""
        return self.node_nm / NODE_NM * (self.voltage / VOLTAGE) ** 2

    @property
    def area(self) -> float:
        """Factor on an area."""
        return (self.node_nm / NODE_NM) ** 2


def multiply_pj(bits: int, other_bits: int, scale: Scale) -> float:
    """A product of numbers of `bits` and `other_bits`, pJ."""
    return power_law(_MULTIPLY_PJ, math.sqrt(bits * other_bits)) * scale.energy


def add_pj(bits: int, scale: Scale) -> float:
    """A sum of `bits`, pJ."""
    return power_law(_ADD_PJ, bits) * scale.energy


def sram_pj(words: int, word_bits: int, scale: Scale) -> float:
    """Reading or writing one word of a memory of `words` words, pJ."""
    return power_law(_SRAM_PJ, words * word_bits) * word_bits / _SRAM_WORD * scale.energy


def dram_pj(word_bits: int) -> float:
    """Reading one word from outside of the chip, pJ."""
    return _DRAM_PJ_PER_BIT * word_bits


def multiplier_um2(bits: int, other_bits: int, scale: Scale) -> float:
    """A multiplier with an adder of 32 bits behind it, um2."""
    product = power_law(_MULTIPLY_UM2, math.sqrt(bits * other_bits))
    return (product + power_law(_ADD_UM2, SUM_BITS)) * scale.area


def sram_um2(bits: int, scale: Scale) -> float:
    """A memory of `bits`, um2."""
    return bits * SRAM_UM2_PER_BIT * scale.area
