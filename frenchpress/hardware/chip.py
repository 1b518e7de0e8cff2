"""A chip as a YAML file describes it: multipliers, memories, clock, energy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from frenchpress.common import UserError, blaming, unknown
from frenchpress.common.document import Document, read_document
from frenchpress.common.typed import blame, fill, ranged
from frenchpress.hardware.dataflows import DATAFLOWS
from frenchpress.hardware.dataflows.base import Dataflow
from frenchpress.hardware.energy import NODE_NM, VOLTAGE, Scale, dram_pj, sram_pj
from frenchpress.hardware.memory import Memories


@dataclass(frozen=True)
class Cells:
    """What turns sums into outputs: `units` of them take a cell (or an output of the head) every `cycles` cycles;
    the last one is finished `latency` cycles later.
    """

    units: int = ranged(1, low=1, high=65536)
    cycles: int = ranged(1, low=1, high=1024)
    latency: int = ranged(8, low=0, high=65536)


@dataclass(frozen=True)
class Energy:
    """`table`: `none` for chips that no table describes, such as an FPGA; their energy is then not given.

    `multiply_pj`, `add_pj`: in place of the table, with their `source`. `idle_mw`: clock and leakage, all the time.
    """

    table: Literal["horowitz", "none"] = "horowitz"
    multiply_pj: float | None = ranged(None, low=0.0, high=1e6)
    add_pj: float | None = ranged(None, low=0.0, high=1e6)
    idle_mw: float = ranged(0.0, low=0.0, high=1e6)
    source: str = ""

    def __post_init__(self) -> None:
        if not self.source and (self.multiply_pj is not None or self.add_pj is not None or self.idle_mw):
            raise UserError("source: missing; say where the figures in place of the table come from")


@dataclass(frozen=True)
class ChipFile:
    """Everything that a chip's file may say. `channels`: copies of the array that compute the same step for other
    utterances and so share what is read of weights and index. `notes`: what was published and what is assumed.
    """

    title: str = ""
    notes: tuple[str, ...] = ()
    node_nm: float = ranged(NODE_NM, low=1.0, high=1000.0)
    voltage: float = ranged(VOLTAGE, low=0.1, high=10.0)
    clock_mhz: float | None = ranged(None, above=0.0, high=1e5)
    channels: int = ranged(1, low=1, high=65536)
    dataflow: Any = None
    cells: Cells = field(default_factory=Cells)
    memories: Memories | None = None
    energy: Energy = field(default_factory=Energy)

    def __post_init__(self) -> None:
        for name, example in (("clock_mhz", "80"), ("dataflow", "{kind: dense, lanes: 64}"), ("memories", "{...}")):
            if getattr(self, name) is None:
                raise UserError(f"{name}: missing, such as `{name}: {example}`")


@dataclass(frozen=True)
class Chip:
    """A chip whose parts fit together. `name`: its file."""

    name: str
    file: ChipFile
    dataflow: Dataflow

    @property
    def memories(self) -> Memories:
        """Its memories."""
        return self.file.memories

    @property
    def multipliers(self) -> int:
        """Of all channels."""
        return self.file.channels * self.dataflow.multipliers

    @property
    def scale(self) -> Scale:
        """From the tables of energy and area to this chip."""
        return Scale(self.file.node_nm, self.file.voltage)

    def access_pj(self, name: str) -> float:
        """Energy of one word of one bank of the memory `name`, pJ."""
        sram = getattr(self.memories, name)
        if sram.access_pj is not None:
            return sram.access_pj
        if sram.kind == "dram":
            return dram_pj(sram.word_bits)
        return sram_pj(sram.words, sram.word_bits, self.scale)


def load_chip(path: Path | str) -> Chip:
    """The chip in a file; UserError, with file, line and key, for what it may not say or what does not fit."""
    document = read_document(path)
    file = fill(ChipFile, document.values, document)
    dataflow = _dataflow(document)
    try:
        with blaming("memories"):
            dataflow.check_memories(file.memories)
    except UserError as error:
        raise blame(document, (), str(error)) from None
    return Chip(str(path), file, dataflow)


def _dataflow(document: Document) -> Dataflow:
    """What stands under `dataflow`: `kind`, and the options of that kind."""
    values = document.values["dataflow"]
    kinds = f"kind: one of {', '.join(DATAFLOWS)}"
    if not isinstance(values, dict) or "kind" not in values:
        raise blame(document, ("dataflow",), f"expected a section with {kinds}, and its options")
    kind = values["kind"]
    if not isinstance(kind, str) or kind not in DATAFLOWS:
        raise blame(document, ("dataflow", "kind"), unknown(kind, DATAFLOWS))
    options = {key: value for key, value in values.items() if key != "kind"}
    return fill(DATAFLOWS[kind], options, document, ("dataflow",))
