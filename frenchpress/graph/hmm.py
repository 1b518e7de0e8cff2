"""H: transition-ids to phones in context, and the self-loops that are added to the graph last.

Transition-ids are one more than the arcs of the HMMs, see `frenchpress.kaldi.transition`. Self-loops are left out
while the graph is composed and optimised, which keeps it small; the probability mass that they leave to the other
arcs is put back together with them.
"""

from __future__ import annotations

from dataclasses import replace

import kaldifst
import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.graph.fst import FstArcs, arcs_from_rows
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.kaldi.tree import STATE_KEY, Constant, ContextTree, Node, Split


def h_transducer(
    windows: list[list[int]], tree: ContextTree, model: TransitionModel, transition_scale: float = 1.0
) -> kaldifst.StdVectorFst:
    """H for the context windows of a CLG: its olabels are indices into `windows`, ilabels transition-ids.

    A window of one number at most 0 is a disambiguation symbol; these get ilabels from `model.num_tids` + 1 on.
    Every path of a phone starts and ends in state 0. Windows whose HMM states share all pdfs share their states.
    """
    builder = _HBuilder(model, transition_scale)
    contexts = [i for i, w in enumerate(windows) if len(w) == tree.N and w[tree.P] > 0]
    pdfs = _window_pdfs(np.array([windows[i] for i in contexts]).reshape(-1, tree.N), tree, model)
    for index, row in zip(contexts, pdfs):
        builder.enter(index, windows[index][tree.P], tuple(row))
    disambig = [i for i, w in enumerate(windows) if len(w) == 1 and w[0] <= 0]
    for offset, index in enumerate(disambig, 1):
        builder.arc(0, model.num_tids + offset, index, 0.0, 0)
    fst = builder.build()
    kaldifst.arcsort(fst, "olabel")
    return fst


def _window_pdfs(windows: NDArray, tree: ContextTree, model: TransitionModel) -> list[list[int]]:
    """Per window [W, N], the pdf of each pdf class of its central phone."""
    centre = windows[:, tree.P]
    classes = np.zeros(int(centre.max(initial=0)) + 1, np.int64)
    for phone in np.unique(centre).tolist():
        classes[phone] = model.topo.num_pdf_classes(phone)
    found = np.full((len(windows), classes.max()), -1)
    for pdf_class in range(found.shape[1]):
        rows = np.flatnonzero(classes[centre] > pdf_class)
        _descend(tree.root, windows, pdf_class, rows, found[:, pdf_class])
    return [row[: classes[c]] for row, c in zip(found.tolist(), centre)]


def _descend(node: Node | None, windows: NDArray, pdf_class: int, rows: NDArray, out: NDArray) -> None:
    """Write the pdfs of the windows `rows` to `out`: all of them go down the tree together."""
    if not len(rows):
        return
    if isinstance(node, Constant):
        out[rows] = node.pdf
        return
    if node is None:
        raise UserError(f"tree has no leaf for phones {windows[rows[0]].tolist()}, pdf class {pdf_class}")
    values = np.full(len(rows), pdf_class) if node.key == STATE_KEY else windows[rows, node.key]
    if isinstance(node, Split):
        asked = np.isin(values, list(node.yes))
        _descend(node.yes_node, windows, pdf_class, rows[asked], out)
        _descend(node.no_node, windows, pdf_class, rows[~asked], out)
        return
    for value in np.unique(values).tolist():
        child = node.children[value] if value < len(node.children) else None
        _descend(child, windows, pdf_class, rows[values == value], out)


class _HBuilder:
    """Grows H: bodies of phone HMMs, shared by their pdfs, and the arcs that enter them from state 0."""

    def __init__(self, model: TransitionModel, scale: float) -> None:
        self.model = model
        self.scale = scale
        self.costs = -scale * (model.log_probs.astype(np.float64) - leave_log_probs(model))
        self.arcs: list[tuple[int, int, int, float, int]] = []
        self.entries: dict[tuple[int, tuple[int, ...]], list[tuple[int, float, int]]] = {}
        self.num_states = 1

    def arc(self, src: int, ilabel: int, olabel: int, cost: float, dst: int) -> None:
        self.arcs.append((src, ilabel, olabel, cost, dst))

    def enter(self, window: int, phone: int, pdfs: tuple[int, ...]) -> None:
        """Arcs from state 0, with the window as olabel, into the HMM of a phone with this pdf per class."""
        if (phone, pdfs) not in self.entries:
            self.entries[phone, pdfs] = self._body(phone, pdfs)
        for ilabel, cost, dst in self.entries[phone, pdfs]:
            self.arc(0, ilabel, window, cost, dst)

    def _body(self, phone: int, pdfs: tuple[int, ...]) -> list[tuple[int, float, int]]:
        """Add the states of an HMM; return what leaves its first one, as (ilabel, cost, destination)."""
        entry = self.model.topo.entry(phone)
        last = len(entry) - 1
        # The final state is the common state 0; the first one needs a place only if an arc comes back to it.
        entered = {d for number, state in enumerate(entry) for d, _ in state.arcs if d != number}
        place = {last: 0}
        for number in sorted(entered - {last}):
            place[number] = self.num_states
            self.num_states += 1
        for number in sorted(entered - {last}):
            for ilabel, cost, destination in self._leaving(phone, number, pdfs):
                self.arc(place[number], ilabel, 0, cost, place[destination])
        return [(ilabel, cost, place[d]) for ilabel, cost, d in self._leaving(phone, 0, pdfs)]

    def _leaving(self, phone: int, number: int, pdfs: tuple[int, ...]) -> list[tuple[int, float, int]]:
        """The arcs that leave a state of an HMM for another one."""
        state = self.model.topo.entry(phone)[number]
        arcs = [(i, d, p) for i, (d, p) in enumerate(state.arcs) if d != number]
        if state.pdf_class < 0:
            return [(0, -self.scale * float(np.log(p)), d) for _, d, p in arcs]
        row = self.model.tuple_index(phone, number, pdfs[state.pdf_class], pdfs[state.self_loop_class])
        ids = [(self.model.tid(row, i), d) for i, d, _ in arcs]
        return [(tid, float(self.costs[tid]), d) for tid, d in ids]

    def build(self) -> kaldifst.StdVectorFst:
        finals = np.full(self.num_states, np.inf, np.float32)
        finals[0] = 0.0
        return arcs_from_rows(0, finals, self.arcs).build()


def leave_log_probs(model: TransitionModel) -> NDArray[np.float64]:
    """Per transition-id, the log-probability that its HMM state is left for another: 0 without a self-loop."""
    loops = np.flatnonzero(model.tid2is_self_loop)
    leave = np.zeros(len(model.tuples))
    # A self-loop that has taken all the mass leaves a floor, so that costs stay finite.
    leave[model.tid2tuple[loops]] = np.log(np.maximum(-np.expm1(model.log_probs[loops].astype(np.float64)), 1e-10))
    return leave[model.tid2tuple]


def add_self_loops(graph: FstArcs, model: TransitionModel, scale: float = 0.1) -> FstArcs:
    """The graph with the self-loop of an HMM state on the graph state that its forward transition leads to.

    The order within a state is thus "forward, then loop", which lets arcs that share a label share a graph state.
    Log-probabilities of looping and of not looping are both scaled.
    """
    emitting = (graph.ilabel > 0) & (graph.ilabel <= model.num_tids)
    kind = np.where(emitting, model.tid2tuple[np.where(emitting, graph.ilabel, 0)] + 1, 0)
    graph, state_kind = _one_kind_in(graph, kind)
    loop_of = np.zeros(len(model.tuples) + 1, np.int32)
    loops = np.flatnonzero(model.tid2is_self_loop)
    loop_of[model.tid2tuple[loops] + 1] = loops
    leave = np.zeros(len(model.tuples) + 1)
    leave[model.tid2tuple[1:] + 1] = -scale * leave_log_probs(model)[1:]
    looping = np.flatnonzero(loop_of[state_kind])
    labels = loop_of[state_kind[looping]]
    none = np.zeros(len(looping), np.int32)
    moved = (graph.weight + leave[state_kind[graph.src]]).astype(np.float32)
    costs = (-scale * model.log_probs[labels]).astype(np.float32)
    return FstArcs(
        graph.start,
        (graph.finals + leave[state_kind]).astype(np.float32),
        np.concatenate([graph.src, looping]).astype(np.int32),
        np.concatenate([graph.ilabel, labels]).astype(np.int32),
        np.concatenate([graph.olabel, none]),
        np.concatenate([moved, costs]),
        np.concatenate([graph.dst, looping]).astype(np.int32),
    )


def _one_kind_in(graph: FstArcs, kind: NDArray) -> tuple[FstArcs, NDArray]:
    """Make all arcs into a state be of one `kind` (per arc; 0: epsilon), and return that kind per state.

    A state entered by several kinds (the start counts as entered by 0) becomes one of kind 0, and its other arcs
    arrive over a new state for each kind and an epsilon arc from there.
    """
    low = np.full(graph.num_states, np.iinfo(np.int64).max)
    high = np.full(graph.num_states, -1)
    low[graph.start] = high[graph.start] = 0
    np.minimum.at(low, graph.dst, kind)
    np.maximum.at(high, graph.dst, kind)
    mixed = low < high
    detour = np.flatnonzero(mixed[graph.dst] & (kind > 0))
    pairs, which = np.unique(np.stack([graph.dst[detour], kind[detour]], axis=1), axis=0, return_inverse=True)
    added = graph.num_states + np.arange(len(pairs))
    dst = graph.dst.copy()
    dst[detour] = added[which.reshape(-1)]
    none = np.zeros(len(pairs), np.int32)
    state_kind = np.concatenate([np.where(mixed | (high < 0), 0, low), pairs[:, 1]])
    extended = replace(
        graph,
        finals=np.concatenate([graph.finals, np.full(len(pairs), np.inf, np.float32)]),
        src=np.concatenate([graph.src, added]).astype(np.int32),
        ilabel=np.concatenate([graph.ilabel, none]),
        olabel=np.concatenate([graph.olabel, none]),
        weight=np.concatenate([graph.weight, none.astype(np.float32)]),
        dst=np.concatenate([dst, pairs[:, 0]]).astype(np.int32),
    )
    return extended, state_kind
