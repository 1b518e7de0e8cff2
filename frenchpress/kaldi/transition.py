"""The transition model: the numbering of HMM transitions that alignments and graphs are written in."""

from __future__ import annotations

import numpy as np

from frenchpress.common import UserError
from frenchpress.kaldi.binary import BinaryReader, BinaryWriter
from frenchpress.kaldi.topology import HmmTopology, read_topology_binary, write_topology_binary
from frenchpress.kaldi.tree import ContextTree


class TransitionModel:
    """Tuples (phone, HMM state, forward pdf, self-loop pdf), sorted; each arc of one has a transition-id.

    Ids count from 1: tuples in order, and within a tuple its arcs in the order of the topology. The lookup
    arrays are indexed by transition-id (element 0 is unused): `tid2tuple` (0-based row of `tuples`),
    `tid2phone`, `tid2hmm_state`, `tid2pdf` (the distribution that the arc consumes a frame with),
    `tid2is_self_loop`, `tid2is_final` (the arc ends the phone), `tid2arc` (index of the arc in its state).
    `log_probs` is float32 [ids + 1].
    """

    def __init__(self, topo: HmmTopology, tuples: np.ndarray, log_probs: np.ndarray | None = None) -> None:
        self.topo = topo
        self.tuples = np.asarray(tuples, np.int32).reshape(-1, 4)
        arcs = [topo.entry(phone)[state].arcs for phone, state, _, _ in self.tuples.tolist()]
        counts = np.array([len(a) for a in arcs])
        self._first = 1 + np.concatenate(([0], np.cumsum(counts)))
        self.tid2tuple = _from_one(np.repeat(np.arange(len(arcs)), counts))
        self.tid2arc = _from_one(np.concatenate([np.arange(n) for n in counts]))
        destinations = _from_one(np.array([d for a in arcs for d, _ in a]))
        self.tid2phone = self._column(0)
        self.tid2hmm_state = self._column(1)
        self.tid2is_self_loop = destinations == self.tid2hmm_state
        self.tid2is_self_loop[0] = False
        self.tid2is_final = destinations == self._column_of_last()
        self.tid2is_final[0] = False
        self.tid2pdf = np.where(self.tid2is_self_loop, self._column(3), self._column(2))
        if log_probs is None:
            probabilities = np.array([1.0] + [p for a in arcs for _, p in a], np.float32)
            log_probs = np.log(probabilities)
        self.log_probs = np.asarray(log_probs, np.float32)
        if len(self.log_probs) != self.num_tids + 1:
            raise UserError(f"transition model has {self.num_tids} arcs but {len(self.log_probs) - 1} probabilities")

    @classmethod
    def from_tree(cls, tree: ContextTree, topo: HmmTopology) -> TransitionModel:
        """The model of a tree and a topology, probabilities as in the topology."""
        tuples = set()
        for phone in topo.phones:
            pdfs = [sorted(tree.pdfs(phone, c)) for c in range(topo.num_pdf_classes(phone))]
            for number, state in enumerate(topo.entry(phone)):
                if state.pdf_class < 0:
                    continue
                if state.pdf_class == state.self_loop_class:
                    pairs = [(pdf, pdf) for pdf in pdfs[state.pdf_class]]
                else:
                    pairs = sorted(tree_pairs(tree, phone, state.pdf_class, state.self_loop_class))
                tuples.update((phone, number, *pair) for pair in pairs)
        return cls(topo, np.array(sorted(tuples)))

    @property
    def num_tids(self) -> int:
        """How many transition-ids there are (the largest one)."""
        return len(self.tid2tuple) - 1

    @property
    def num_pdfs(self) -> int:
        """One more than the largest pdf."""
        return int(self.tuples[:, 2:].max()) + 1

    @property
    def num_phones(self) -> int:
        """Phones with a topology."""
        return len(self.topo.phone_to_entry)

    def tid(self, tuple_index: int, arc_index: int) -> int:
        """The transition-id of an arc (its index in the topology's state) of a tuple (row of `tuples`)."""
        return int(self._first[tuple_index]) + arc_index

    def tuple_index(self, phone: int, state: int, forward_pdf: int, self_loop_pdf: int | None = None) -> int:
        """The row of `tuples`; UserError when the model has no such tuple."""
        loop = forward_pdf if self_loop_pdf is None else self_loop_pdf
        index = self._rows.get((phone, state, forward_pdf, loop))
        if index is None:
            raise UserError(f"no tuple of phone {phone}, state {state}, pdf {forward_pdf} in the model")
        return index

    @property
    def _rows(self) -> dict[tuple[int, ...], int]:
        if not hasattr(self, "_row_index"):
            self._row_index = {tuple(row): index for index, row in enumerate(self.tuples.tolist())}
        return self._row_index

    def _column(self, index: int) -> np.ndarray:
        column = self.tuples[self.tid2tuple, index]
        column[0] = 0
        return column

    def _column_of_last(self) -> np.ndarray:
        last = np.array([len(self.topo.entry(phone)) - 1 for phone in self.tuples[:, 0].tolist()])
        return last[self.tid2tuple]


def tree_pairs(tree: ContextTree, phone: int, forward: int, loop: int) -> set[tuple[int, int]]:
    """(forward pdf, self-loop pdf) that occur together in some context of a phone."""
    if tree.N == 1:
        return {(tree.pdf((phone,), forward), tree.pdf((phone,), loop))}
    raise UserError("self-loops with their own pdfs can only be built for trees without context")


def read_transitions(reader: BinaryReader) -> TransitionModel:
    """Read a transition model from a binary file."""
    reader.expect("<TransitionModel>")
    topo = read_topology_binary(reader)
    kind = reader.expect("<Triples>", "<Tuples>")
    rows = []
    for _ in range(reader.int32()):
        phone, state, forward = reader.int32(), reader.int32(), reader.int32()
        rows.append((phone, state, forward, forward if kind == "<Triples>" else reader.int32()))
    reader.expect("</Triples>", "</Tuples>")
    reader.expect("<LogProbs>")
    log_probs = reader.vector()
    reader.expect("</LogProbs>")
    reader.expect("</TransitionModel>")
    return TransitionModel(topo, np.array(rows), log_probs)


def write_transitions(writer: BinaryWriter, model: TransitionModel) -> None:
    """Write a transition model into a binary file."""
    kind = "Triples" if model.topo.is_hmm else "Tuples"
    columns = 3 if model.topo.is_hmm else 4
    writer.token("<TransitionModel>")
    write_topology_binary(writer, model.topo)
    writer.token(f"<{kind}>")
    writer.int32(len(model.tuples))
    for value in model.tuples[:, :columns].ravel().tolist():
        writer.int32(value)
    writer.token(f"</{kind}>")
    writer.token("<LogProbs>")
    writer.vector(model.log_probs)
    writer.token("</LogProbs>")
    writer.token("</TransitionModel>")


def _from_one(values: np.ndarray) -> np.ndarray:
    return np.concatenate(([0], values)).astype(np.int32)
