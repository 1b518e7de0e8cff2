"""A frame's cost as text and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from frenchpress.hardware.chip import Chip
from frenchpress.hardware.cost import FrameCost, Part
from frenchpress.hardware.totals import area_mm2, frame_energy, part_energy


def chip_text(chip: Chip) -> str:
    """What a chip has, and what its file says of where that comes from."""
    head = ["memory", "kB", "banks", "words", "bits of a word"]
    rows = []
    for name, sram in chip.memories.present().items():
        rows.append([name, f"{sram.bits / 8000:.1f}", str(sram.banks), str(sram.words), str(sram.word_bits)])
    lines = [f"{chip.name}: {chip.file.title}", _array(chip), *chip.file.notes, "", *table(head, rows)]
    return "\n".join(lines) + "\n"


def cost_text(cost: FrameCost, model_name: str) -> str:
    """The whole report; docs/hardware.md explains the columns."""
    chip = cost.chip
    lines = [
        f"{model_name} on {chip.name}: {chip.file.title}",
        _array(chip),
        "",
        *summary_lines(cost),
        "",
        *table(*parts_table(cost)),
        "",
        *table(*memory_table(cost)),
    ]
    return "\n".join(lines) + "\n"


def _array(chip: Chip) -> str:
    flow = type(chip.dataflow).__name__.lower()
    return f"{chip.multipliers} multipliers at {chip.file.clock_mhz:g} MHz, dataflow {flow}"


def summary_lines(cost: FrameCost) -> list[str]:
    """A frame in total."""
    chip, channels = cost.chip, cost.chip.file.channels
    rate = channels * 1e6 / cost.microseconds
    found = [
        f"a frame: {cost.cycles} cycles, {cost.microseconds:.1f} us; {rate:.0f} frames/s",
        f"utilisation {100 * cost.utilisation:.1f} %: {cost.macs} kept weights, {chip.dataflow.multipliers} at a time",
    ]
    if channels > 1:
        found[0] += f" in {channels} channels"
    if cost.has_energy:
        energy = frame_energy(cost)
        parts = ", ".join(f"{name} {_share(pj, energy)}" for name, pj in _largest(energy))
        found.append(f"energy {sum(energy.values()) / 1e6:.3f} uJ a frame: {parts}")
        area = chip_area(cost)
        parts = ", ".join(f"{name} {_share(mm2, area)}" for name, mm2 in _largest(area))
        found.append(f"area of multipliers and memories {sum(area.values()):.2f} mm2: {parts}")
    return found


def chip_area(cost: FrameCost) -> dict[str, float]:
    """mm2, with multipliers for the widest numbers of the model."""
    pairs = [part.multiply_bits for part in cost.parts if part.macs]
    return area_mm2(cost.chip, max(w for w, _ in pairs), max(a for _, a in pairs))


def _largest(values: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(((name, value) for name, value in values.items() if value), key=lambda pair: -pair[1])


def _share(value: float, values: dict[str, float]) -> str:
    return f"{100 * value / sum(values.values()):.0f} %"


def parts_table(cost: FrameCost) -> tuple[list[str], list[list[str]]]:
    """Head and rows: where the cycles and the energy go."""
    head = ["part", "cycles", "share", "kept weights", "used", "lost to"]
    if cost.has_energy:
        head.insert(5, "nJ")
    rows = []
    for part in cost.parts:
        used = part.macs / (part.cycles * cost.chip.dataflow.multipliers) if part.cycles and part.macs else None
        row = [
            part.name,
            str(part.cycles),
            f"{100 * part.cycles / cost.cycles:.1f} %",
            str(part.macs or "-"),
            "-" if used is None else f"{100 * used:.1f} %",
            _lost(part),
        ]
        if cost.has_energy:
            row.insert(5, f"{sum(part_energy(part, cost.chip).values()) / 1e3:.1f}")
        rows.append(row)
    return head, rows


def _lost(part: Part) -> str:
    lost = [f"{name} {100 * cycles / part.cycles:.1f} %" for name, cycles in part.lost.items() if cycles >= 0.5]
    return ", ".join(lost) or "-"


def memory_table(cost: FrameCost) -> tuple[list[str], list[list[str]]]:
    """Head and rows: what lies in the memories, and what a frame reads and writes."""
    head = ["memory", "kB", "taken up", "of it", "accesses a frame", "kB a frame"]
    rows = []
    for name, sram in cost.chip.memories.present().items():
        bits, count = cost.occupied_bits[name], cost.accesses[name]
        rows.append(
            [
                name,
                f"{sram.bits / 8000:.1f}",
                f"{bits / 8000:.1f}",
                f"{100 * bits / sram.bits:.1f} %",
                str(count),
                f"{count * sram.word_bits / 8000:.1f}",
            ]
        )
    return head, rows


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines in columns: the first to the left, the last as it is, others to the right."""
    lines = [head, *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]

    def padded(line: Sequence[str]) -> str:
        middle = [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1])]
        return "  ".join([line[0].ljust(widths[0]), *middle, line[-1]]).rstrip()

    return [padded(line) for line in lines]


def cost_data(cost: FrameCost) -> dict[str, Any]:
    """The same, unrounded, for programs. Energy and area are left out where no table describes the chip."""
    parts = []
    for part in cost.parts:
        values = {"name": part.name, "cycles": part.cycles, "macs": part.macs, "multiplications": part.executed}
        values |= {"lost_cycles": part.lost, "accesses": dict(part.accesses)}
        parts.append(values | ({"energy_pj": part_energy(part, cost.chip)} if cost.has_energy else {}))
    totals = {
        "chip": cost.chip.name,
        "cycles": cost.cycles,
        "microseconds": cost.microseconds,
        "frames_per_second": cost.chip.file.channels * 1e6 / cost.microseconds,
        "utilisation": cost.utilisation,
        "content_bits": cost.content_bits,
        "occupied_bits": cost.occupied_bits,
        "parts": parts,
    }
    if cost.has_energy:
        totals |= {"energy_uj": sum(frame_energy(cost).values()) / 1e6, "energy_pj": frame_energy(cost)}
        totals |= {"area_mm2": chip_area(cost)}
    return totals
