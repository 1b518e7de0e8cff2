"""Weighted transducers as arrays of arcs, for what is easier said over all arcs at once than arc by arc."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import kaldifst
import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, atomic_path


@dataclass
class FstArcs:
    """A transducer in the tropical semiring.

    `src`, `dst`, `ilabel`, `olabel` are int32 [A], `weight` float32 [A] (costs); `finals` float32 [S] has the final
    cost of every state, infinity where it is not final; `start` is a state.
    """

    start: int
    finals: NDArray[np.float32]
    src: NDArray[np.int32]
    ilabel: NDArray[np.int32]
    olabel: NDArray[np.int32]
    weight: NDArray[np.float32]
    dst: NDArray[np.int32]

    @property
    def num_states(self) -> int:
        """How many states."""
        return len(self.finals)

    @property
    def num_arcs(self) -> int:
        """How many arcs."""
        return len(self.src)

    @classmethod
    def of(cls, fst: kaldifst.StdFst) -> FstArcs:
        """The arcs of a kaldifst transducer."""
        states = list(kaldifst.StateIterator(fst))
        finals = np.array([fst.final(s).value for s in states], np.float32)
        rows = [
            (s, arc.ilabel, arc.olabel, arc.weight.value, arc.nextstate)
            for s in states
            for arc in kaldifst.ArcIterator(fst, s)
        ]
        return arcs_from_rows(fst.start() if callable(fst.start) else fst.start, finals, rows)

    def build(self) -> kaldifst.StdVectorFst:
        """A kaldifst transducer with the arcs of a state in the order they have here."""
        fst = kaldifst.StdVectorFst()
        for final in self.finals.tolist():
            state = fst.add_state()
            if final != float("inf"):
                fst.set_final(state, final)
        fst.start = self.start
        columns = (self.src, self.ilabel, self.olabel, self.weight, self.dst)
        for src, ilabel, olabel, weight, dst in zip(*(column.tolist() for column in columns)):
            fst.add_arc(src, kaldifst.StdArc(ilabel, olabel, weight, dst))
        return fst


def arcs_from_rows(
    start: int, finals: NDArray[np.float32], rows: list[tuple[int, int, int, float, int]]
) -> FstArcs:
    """A transducer from one (source, ilabel, olabel, cost, destination) per arc."""
    columns = list(zip(*rows)) or [(), (), (), (), ()]
    src, ilabel, olabel, weight, dst = columns
    ints = (np.array(column, np.int32) for column in (src, ilabel, olabel))
    return FstArcs(start, finals, *ints, np.array(weight, np.float32), np.array(dst, np.int32))


def read_fst(path: Path | str) -> kaldifst.StdFst:
    """Read an OpenFst file of type vector or const; UserError if it is neither or cut short."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with open(path, "rb") as handle:
        header = handle.read(16)
    kind = header[8:].split(b"\0")[0]
    if header[:4] != b"\xd6\xfd\xb2\x7e" or not kind.startswith((b"vector", b"const")):
        raise UserError(f"{path}: not an OpenFst file of type vector or const")
    reader = kaldifst.StdConstFst if kind.startswith(b"const") else kaldifst.StdVectorFst
    fst = reader.read(str(path))
    if fst is None:
        raise UserError(f"{path}: transducer is cut short or damaged; make it again")
    return fst


def write_fst(path: Path | str, fst: kaldifst.StdFst) -> None:
    """Write a transducer, whole or not at all."""
    with atomic_path(path) as temporary:
        if not fst.write(str(temporary)):
            raise UserError(f"{path}: could not be written; is the disk full?")
