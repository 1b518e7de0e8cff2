"""One product that an array of multipliers goes through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from frenchpress.hardware.simulator.ram import Numbers, Ram, Vector


@dataclass(frozen=True)
class Job:
    """A product to go through: sizes of the matrix as in the manifest of memory images, where its words begin in each
    bank, the vector that comes in, and the first of its sums.
    """

    sizes: dict[str, Any]
    weights: list[tuple[Ram, int]]
    index: list[tuple[Ram, int]]
    vector: Vector
    sums: Numbers
    base: int

    @property
    def rows(self) -> int:
        """Of all gates."""
        return self.sizes["gates"] * self.sizes["rows"]

    def sum_of(self, by_cell: int) -> int:
        """Address of the sum of a row that is counted with the gates of a cell side by side."""
        cell, gate = divmod(by_cell, self.sizes["gates"])
        return self.base + gate * self.sizes["rows"] + cell

    def weight(self, code: int) -> int:
        """The number that the bits of a weight stand for."""
        bits = self.sizes["bits"]
        if bits == 1:
            return 2 * code - 1
        return code - (1 << bits) if code >> (bits - 1) else code

    def lanes(self, field: int, count: int) -> list[int]:
        """Weights side by side in a field."""
        bits = self.sizes["bits"]
        return [self.weight(field >> (k * bits) & ((1 << bits) - 1)) for k in range(count)]


Ready = Callable[[int, int], None]
"""Is told the cycle, and how many rows of each gate are complete by it."""
