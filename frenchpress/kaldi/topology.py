"""HMM topologies: which states a phone has, which arcs leave them (`topo`, text or binary)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from frenchpress.common import UserError, atomic_path, read_lines
from frenchpress.kaldi.binary import BinaryReader, BinaryWriter

Arc = tuple[int, float]  # destination state, probability


@dataclass(frozen=True)
class HmmState:
    """A state: the class of its output distribution (-1: non-emitting) and the arcs that leave it.

    `self_loop_class` differs from `pdf_class` only where a self-loop has a distribution of its own.
    """

    pdf_class: int
    arcs: tuple[Arc, ...]
    self_loop_class: int


@dataclass
class HmmTopology:
    """Entries (lists of states, the last one final) and which phone uses which entry."""

    entries: list[list[HmmState]]
    phone_to_entry: dict[int, int] = field(default_factory=dict)

    @property
    def phones(self) -> list[int]:
        """Phone ids with a topology, ascending."""
        return sorted(self.phone_to_entry)

    @property
    def is_hmm(self) -> bool:
        """False when some self-loop has its own distribution."""
        return all(s.pdf_class == s.self_loop_class for entry in self.entries for s in entry)

    def entry(self, phone: int) -> list[HmmState]:
        """The states of a phone, final one included."""
        if phone not in self.phone_to_entry:
            raise UserError(f"phone {phone} has no HMM topology; expected one of {_short(self.phones)}")
        return self.entries[self.phone_to_entry[phone]]

    def states(self, phone: int) -> list[tuple[int, list[Arc]]]:
        """(pdf class, [(destination, probability)]) per state of a phone, final one included."""
        return [(state.pdf_class, list(state.arcs)) for state in self.entry(phone)]

    def num_pdf_classes(self, phone: int) -> int:
        """How many distributions a phone has."""
        return 1 + max(max(s.pdf_class, s.self_loop_class) for s in self.entry(phone))


def read_topology(path: Path | str) -> HmmTopology:
    """Read `topo`, text or binary."""
    path = Path(path)
    if path.is_file():
        with open(path, "rb") as handle:
            if handle.read(2) == b"\0B":
                return read_topology_binary(BinaryReader(path))
    return _TextTopology(path).read()


def write_topology(path: Path | str, topo: HmmTopology) -> None:
    """Write `topo` as text, as it stands in a lang directory."""
    lines = ["<Topology>"]
    for index, entry in enumerate(topo.entries):
        phones = [phone for phone in topo.phones if topo.phone_to_entry[phone] == index]
        lines += ["<TopologyEntry>", "<ForPhones>", " ".join(map(str, phones)), "</ForPhones>"]
        lines += [_state_line(number, state) for number, state in enumerate(entry)]
        lines.append("</TopologyEntry>")
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join([*lines, "</Topology>"]) + "\n")


def read_topology_binary(reader: BinaryReader) -> HmmTopology:
    """Read a topology from inside a binary file (a transition model begins with one)."""
    reader.expect("<Topology>")
    phones, entry_of = reader.int_vector(), reader.int_vector()
    count = reader.int32()
    is_hmm = count != -1
    if not is_hmm:
        count = reader.int32()
    entries = [[_read_state(reader, is_hmm) for _ in range(reader.int32())] for _ in range(count)]
    reader.expect("</Topology>")
    return HmmTopology(entries, {phone: entry_of[phone] for phone in phones})


def write_topology_binary(writer: BinaryWriter, topo: HmmTopology) -> None:
    """Write a topology inside a binary file."""
    entry_of = np.full(max(topo.phones) + 1, -1)
    for phone, index in topo.phone_to_entry.items():
        entry_of[phone] = index
    writer.token("<Topology>")
    writer.int_vector(topo.phones)
    writer.int_vector(entry_of.tolist())
    if not topo.is_hmm:
        writer.int32(-1)
    writer.int32(len(topo.entries))
    for entry in topo.entries:
        writer.int32(len(entry))
        for state in entry:
            _write_state(writer, state, topo.is_hmm)
    writer.token("</Topology>")


def _read_state(reader: BinaryReader, is_hmm: bool) -> HmmState:
    forward = reader.int32()
    loop = forward if is_hmm else reader.int32()
    arcs = tuple((reader.int32(), reader.float32()) for _ in range(reader.int32()))
    return HmmState(forward, arcs, loop)


def _write_state(writer: BinaryWriter, state: HmmState, is_hmm: bool) -> None:
    writer.int32(state.pdf_class)
    if not is_hmm:
        writer.int32(state.self_loop_class)
    writer.int32(len(state.arcs))
    for destination, probability in state.arcs:
        writer.int32(destination)
        writer.float32(probability)


def _state_line(number: int, state: HmmState) -> str:
    line = f"<State> {number}"
    if state.pdf_class >= 0 and state.pdf_class == state.self_loop_class:
        line += f" <PdfClass> {state.pdf_class}"
    elif state.pdf_class >= 0:
        line += f" <ForwardPdfClass> {state.pdf_class} <SelfLoopPdfClass> {state.self_loop_class}"
    return line + "".join(f" <Transition> {d} {p:g}" for d, p in state.arcs) + " </State>"


def _short(values: list[int]) -> str:
    return " ".join(map(str, values[:8])) + (" ..." if len(values) > 8 else "")


class _TextTopology:
    """Reads the tokens of a text topology in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tokens = [token for line in read_lines(path) for token in line.split()]
        self.at = 0

    def read(self) -> HmmTopology:
        self._expect("<Topology>")
        topo = HmmTopology([])
        while self._next() == "<TopologyEntry>":
            self._expect("<ForPhones>")
            while (token := self._next()) != "</ForPhones>":
                topo.phone_to_entry[self._int(token)] = len(topo.entries)
            topo.entries.append(self._entry())
        if not topo.phone_to_entry:
            raise UserError(f"{self.path}: no phone has a topology; expected <ForPhones> with phone ids")
        return topo

    def _entry(self) -> list[HmmState]:
        states: list[HmmState] = []
        while (token := self._next()) != "</TopologyEntry>":
            if token != "<State>":
                raise UserError(f"{self.path}: expected <State>, found {token!r}")
            self._expect(str(len(states)))
            states.append(self._state())
        return states

    def _state(self) -> HmmState:
        classes: dict[str, int] = {}
        arcs: list[Arc] = []
        while (token := self._next()) != "</State>":
            if token == "<Transition>":
                arcs.append((self._int(self._next()), float(np.float32(self._next()))))
            elif token in ("<PdfClass>", "<ForwardPdfClass>", "<SelfLoopPdfClass>"):
                classes[token] = self._int(self._next())
            else:
                raise UserError(f"{self.path}: unknown word {token!r} in a <State>")
        forward = classes.get("<PdfClass>", classes.get("<ForwardPdfClass>", -1))
        return HmmState(forward, tuple(arcs), classes.get("<SelfLoopPdfClass>", forward))

    def _next(self) -> str:
        if self.at >= len(self.tokens):
            raise UserError(f"{self.path}: ends early; expected </Topology>")
        self.at += 1
        return self.tokens[self.at - 1]

    def _expect(self, token: str) -> None:
        if (found := self._next()) != token:
            raise UserError(f"{self.path}: expected {token}, found {found!r}")

    def _int(self, token: str) -> int:
        if not token.lstrip("-").isdigit():
            raise UserError(f"{self.path}: expected an integer, found {token!r}")
        return int(token)
