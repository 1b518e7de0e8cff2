"""What turns sums into outputs, number by number: docs/packed_model.md has the arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from frenchpress.hardware.chip import Cells
from frenchpress.hardware.simulator.ram import Numbers

_ONE = 1 << 20
_TOP = 2**31 - 1


def rounded(value: int, shift: int) -> int:
    """value / 2^shift, to nearest, half up."""
    return (value + (1 << shift >> 1)) >> shift


def held(value: int, top: int) -> int:
    """Within +-top."""
    return max(-top, min(top, value))


def requantized(values: Iterable[int], requantizer: dict[str, int], bits: int) -> list[int]:
    """Integers on the grid of a layer's inputs, of `bits`; multiplier 0: as they are."""
    multiplier, shift, top = requantizer["multiplier"], requantizer["shift"], (1 << (bits - 1)) - 1
    return [held(rounded(v * multiplier, shift), top) for v in values] if multiplier else list(values)


class CellUnit:
    """The unit at work on layer `name` (or the head), whose sizes are as in the manifest of memory images. `at`: where
    each row of constants begins.
    """

    def __init__(
        self, unit: Cells, sums: Numbers, constants: Numbers, at: dict[str, int], sizes: dict[str, Any], name: str
    ) -> None:
        self._unit, self._sums, self._constants = unit, sums, constants
        self._at, self._sizes, self._name = at, sizes, name

    def _constant(self, kind: str, row: int) -> int:
        return self._constants.read(self._at[f"{self._name}_{kind}"] + row)

    def cell(self, cell: int, states: int) -> int:
        """The next output of a cell, whose state lies behind address `states` of the sums."""
        i, f, g, o = (self._sigmoid(self._argument(gate, cell)) for gate in range(4))
        state = self._sums.read(states + cell)
        state = held(rounded(f * state + (i * (2 * g - _ONE) << 4), 20), _TOP)
        self._sums.write(states + cell, state)
        tanh = 2 * self._sigmoid(2 * rounded(state, 8)) - _ONE
        top = (1 << (self._sizes["output_bits"] - 1)) - 1
        return held(rounded(rounded(o * tanh, 10) * self._sizes["out_multiplier"], 45), top)

    def _argument(self, gate: int, cell: int) -> int:
        cells = self._sizes["cells"]
        row = gate * cells + cell
        along = self._sums.read(row) * self._constant("input_multiplier", row)
        back = self._sums.read(4 * cells + row) * self._constant("recurrent_multiplier", row)
        return rounded(along + back, self._sizes["shift"]) + self._constant("bias", row)

    def _sigmoid(self, x: int) -> int:
        size, table = min(abs(x), _ONE - 1), self._at["sigmoid"]
        low, high = (self._constants.read(table + (size >> 9) + k) for k in range(2))
        y = low + rounded((high - low) * (size & 511), 9)
        return _ONE - y if x < 0 else y

    def output(self, row: int) -> int:
        """A logit."""
        total = self._sums.read(row) * self._constant("multiplier", row)
        return held(rounded(total, self._sizes["shift"]) + self._constant("bias", row), _TOP)

    def time(self, done: dict[int, int], count: int) -> int:
        """Steps through `count` cells when by cycle done[r] the first r can begin: the cycle by which all are out."""
        cycle, begun, free = 0, 0, 0
        while begun < count:
            ready = max((rows for rows, at in done.items() if at <= cycle), default=0)
            wanted = min(count, begun + self._unit.units)
            if cycle >= free and ready >= wanted:
                begun, free = wanted, cycle + self._unit.cycles
            cycle += 1
        return free + self._unit.latency
