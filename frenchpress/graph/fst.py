"""Weighted transducers as arrays of arcs, for what is easier said over all arcs at once than arc by arc."""

from __future__ import annotations

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import kaldifst
import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, atomic_path

_MAGIC = b"\xd6\xfd\xb2\x7e"
_ARC = np.dtype([("ilabel", "<i4"), ("olabel", "<i4"), ("weight", "<f4"), ("dst", "<i4")])
_CONST_STATE = np.dtype([("final", "<f4"), ("first", "<u4"), ("count", "<u4"), ("eps", "<u4", 2)])
_EXPANDED_MUTABLE = 3


@dataclass
class FstArcs:
    """A transducer in the tropical semiring.

    `src`, `dst`, `ilabel`, `olabel` are int32 [A], `weight` float32 [A] (costs); `finals` float32 [S] has the final
    cost of every state, infinity where it is not final; `start` is a state, -1 if there is none.
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
        """The arcs of a kaldifst transducer, in order of source state."""
        # Through a file: arc by arc over the Python interface takes minutes for a large graph.
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "fst"
            if not fst.write(str(path)):
                raise UserError(f"{directory}: no room for a temporary file")
            return _parse(path.read_bytes(), path)

    def build(self) -> kaldifst.StdVectorFst:
        """A kaldifst transducer with the arcs of a state in the order they have here."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "fst"
            path.write_bytes(self._vector_bytes())
            return kaldifst.StdVectorFst.read(str(path))

    def _vector_bytes(self) -> bytes:
        """As an OpenFst file of type vector: per state its final cost and arc count, then its arcs."""
        order = np.argsort(self.src, kind="stable")
        arcs = np.empty(self.num_arcs, _ARC)
        for name in ("ilabel", "olabel", "weight", "dst"):
            arcs[name] = getattr(self, name)[order]
        counts = np.bincount(self.src, minlength=self.num_states).astype("<i8")
        # In words of 4 bytes: 3 for a state, 4 for an arc.
        words = np.empty(3 * self.num_states + 4 * self.num_arcs, "<i4")
        arc_words = 3 * (self.src[order].astype(np.int64) + 1) + 4 * np.arange(self.num_arcs)
        words[arc_words[:, None] + np.arange(4)] = arcs.view("<i4").reshape(-1, 4)
        heads = 3 * np.arange(self.num_states) + 4 * (np.cumsum(counts) - counts)
        words[heads] = self.finals.astype("<f4").view("<i4")
        words[heads[:, None] + np.arange(1, 3)] = counts.view("<i4").reshape(-1, 2)
        kind = b"".join(struct.pack("<i", len(s)) + s for s in (b"vector", b"standard"))
        sizes = (2, 0, _EXPANDED_MUTABLE, self.start, self.num_states, self.num_arcs)
        return _MAGIC + kind + struct.pack("<iiQqqq", *sizes) + words.tobytes()


def arcs_from_rows(start: int, finals: NDArray[np.float32], rows: list[tuple[int, int, int, float, int]]) -> FstArcs:
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
    reader = kaldifst.StdConstFst if _kind(header, path) == b"const" else kaldifst.StdVectorFst
    fst = reader.read(str(path))
    if fst is None:
        raise UserError(f"{path}: transducer is cut short or damaged; make it again")
    return fst


def write_fst(path: Path | str, fst: kaldifst.StdFst) -> None:
    """Write a transducer, whole or not at all."""
    with atomic_path(path) as temporary:
        if not fst.write(str(temporary)):
            raise UserError(f"{path}: could not be written; is the disk full?")


def _kind(data: bytes, path: Path) -> bytes:
    """The type of an OpenFst file, by its first 16 bytes."""
    for kind in (b"vector", b"const"):
        if data.startswith(_MAGIC + struct.pack("<i", len(kind)) + kind):
            return kind
    raise UserError(f"{path}: not an OpenFst file of type vector or const")


def _parse(data: bytes, path: Path) -> FstArcs:
    """The arrays of an OpenFst file as kaldifst writes it, costs and labels of 4 bytes."""
    kind = _kind(data, path)
    at = 8 + len(kind)
    at += 4 + struct.unpack_from("<i", data, at)[0]
    _, flags, _, start, num_states, num_arcs = struct.unpack_from("<iiQqqq", data, at)
    at += struct.calcsize("<iiQqqq")
    if flags & 3:
        raise UserError("transducer carries symbol tables; clear them first (fstsymbols --clear_isymbols)")
    if kind == b"const":
        # Flag 4: states and arcs are padded to multiples of 16 bytes.
        at = -(-at // 16) * 16 if flags & 4 else at
        states = np.frombuffer(data, _CONST_STATE, num_states, at)
        at += states.nbytes
        at = -(-at // 16) * 16 if flags & 4 else at
        arcs, finals, counts = np.frombuffer(data, _ARC, num_arcs, at), states["final"], states["count"]
    else:
        arcs, finals, counts = _vector_states(data, at, num_states)
    src = np.repeat(np.arange(len(finals)), counts).astype(np.int32)
    columns = {name: np.ascontiguousarray(arcs[name]) for name in ("ilabel", "olabel", "weight", "dst")}
    return FstArcs(start, finals.astype(np.float32), src, **columns)


def _vector_states(data: bytes, at: int, num_states: int) -> tuple[NDArray, NDArray, NDArray]:
    """Arcs, final costs and arc counts of a file of type vector, in which states and arcs alternate."""
    body = data[at:]
    heads = np.empty(num_states, np.int64)
    counts = np.empty(num_states, np.int64)
    read_count = struct.Struct("<q").unpack_from
    position = 0
    for state in range(num_states):
        heads[state] = position
        counts[state] = count = read_count(body, position + 4)[0]
        position += 12 + 16 * count
    words = np.frombuffer(body[:position], "<i4")
    keep = np.ones(len(words), bool)
    keep[(heads // 4)[:, None] + np.arange(3)] = False
    return words[keep].view(_ARC), words[heads // 4].view("<f4"), counts
