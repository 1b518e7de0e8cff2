"""What experiments cost on a described chip, as a section of a table of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frenchpress.common import UserError
from frenchpress.hardware.chip import Chip
from frenchpress.hardware.cost import FrameCost, frame_cost
from frenchpress.hardware.show import cost_data
from frenchpress.hardware.totals import frame_energy
from frenchpress.packed.format import read_model
from frenchpress.report.markdown import markdown
from frenchpress.score.unit import PHONE, Unit

LEGEND = """\
**cycles**, **time**, **energy**: of one frame, by formulas, from the packed model. **used**: share of multipliers and
cycles that did a kept weight. **memory**: words taken up by weights and index. docs/hardware.md has the formulas."""
_PACKED, _TRAINED = "model.press", "final.pt"


@dataclass(frozen=True)
class OnChip:
    """An experiment, its error rate on test, and what a frame of it costs, or why that is not known."""

    name: str
    per: float | None
    found: FrameCost | str


def on_chip(chip: Chip, name: str, place: Path, per: float | None) -> OnChip:
    """The packed model in `place`, the directory of an experiment, on `chip`."""
    packed, trained = place / _PACKED, place / _TRAINED
    if not place.is_dir():
        return OnChip(name, per, "its model is not here")
    if not packed.is_file():
        return OnChip(name, per, f"not packed; python -m frenchpress.export.pack {place}")
    if trained.is_file() and trained.stat().st_mtime > packed.stat().st_mtime:
        return OnChip(name, per, f"trained anew since it was packed; python -m frenchpress.export.pack {place}")
    try:
        return OnChip(name, per, frame_cost(read_model(packed), chip))
    except UserError as error:
        return OnChip(name, per, str(error))


def chip_section(chip: Chip, rows: Sequence[OnChip], unit: Unit = PHONE) -> list[list[str]]:
    """Paragraphs of Markdown: the table, and of what is not in it why."""
    there = [(row, row.found) for row in rows if isinstance(row.found, FrameCost)]
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if isinstance(row.found, str):
            reasons.setdefault(row.found, []).append(row.name)
    missing = [f"- {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    what = f"{chip.file.title}; {chip.multipliers} multipliers, {chip.file.clock_mhz:g} MHz."
    parts = [[f"## On {chip.name}"], [what]]
    if there:
        head = ["experiment", f"{unit.rate} test", "cycles", "time", "energy", "used", "memory"]
        parts += [markdown(head, [_cells(row, cost) for row, cost in there]), LEGEND.splitlines()]
    return parts + ([["Not on it:", "", *missing]] if missing else [])


def _cells(row: OnChip, cost: FrameCost) -> list[str]:
    energy = f"{sum(frame_energy(cost).values()) / 1e6:.3f} uJ" if cost.has_energy else "-"
    memory = sum(cost.occupied_bits.get(name, 0) for name in ("weights", "index")) / 8000
    return [
        row.name,
        "-" if row.per is None else f"{row.per:.2f}",
        str(cost.cycles),
        f"{cost.microseconds:.1f} us",
        energy,
        f"{100 * cost.utilisation:.1f} %",
        f"{memory:.1f} kB",
    ]


def chip_figures(row: OnChip) -> dict[str, float]:
    """Cycles, microseconds and, where the chip has energies, microjoules of a frame; nothing where there is no cost."""
    cost = row.found
    if isinstance(cost, str):
        return {}
    energy = {"energy_uj": sum(frame_energy(cost).values()) / 1e6} if cost.has_energy else {}
    return {"cycles": cost.cycles, "microseconds": cost.microseconds, **energy}


def chip_data(rows: Sequence[OnChip]) -> dict[str, Any]:
    """The same, unrounded, for programs; a text where there is no cost."""
    return {row.name: row.found if isinstance(row.found, str) else cost_data(row.found) for row in rows}
