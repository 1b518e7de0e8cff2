"""Growing a phonetic decision tree: always the split that gains most likelihood, then merging what was split in vain.

Source: Young, Odell and Woodland, "Tree-based state tying for high accuracy acoustic modelling", HLT 1994; one tree per
phone for all its states, so that states share leaves too.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.gmm.gmms import Array, GmmSet
from frenchpress.gmm.treestats import VARIANCE_FLOOR, TreeStats, log_likelihood
from frenchpress.kaldi.topology import HmmTopology
from frenchpress.kaldi.tree import STATE_KEY, Constant, ContextTree, Node, Split, Table

MIN_GAIN = 300.0  # log-likelihood that a split must gain at least
_KEYS = (STATE_KEY, 0, 1, 2)


@dataclass(frozen=True)
class Root:
    """Phones that share a tree: `shared` by all their states, or a tree per state; `split` or left as it is."""

    phones: tuple[int, ...]
    shared: bool = True
    split: bool = True


@dataclass
class _Branch:
    """A node that grows: a leaf until `children` are set."""

    rows: NDArray[np.int64]
    moments: Array
    key: int = 0
    yes: frozenset[int] = frozenset()
    gain: float = 0.0
    children: tuple[_Branch, _Branch] | None = None
    pdf: int = -1


@dataclass
class _Grower:
    """Statistics, and per key the questions as rows of a membership matrix [questions, values]."""

    stats: TreeStats
    questions: list[frozenset[int]]
    _asked: dict[int, tuple[list[frozenset[int]], Array]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        classes = [frozenset(range(k)) for k in range(1, int(self.stats.pdf_class.max()) + 1)]
        size = int(self.stats.windows.max()) + 1
        for key in _KEYS:
            asked = classes if key == STATE_KEY else self.questions
            width = max(size, len(classes) + 1)
            member = np.array([[value in question for value in range(width)] for question in asked], float)
            self._asked[key] = asked, member.reshape(len(asked), width)

    def branch(self, rows: NDArray[np.int64]) -> _Branch:
        """A leaf with its best split looked up."""
        leaf = _Branch(rows, self.stats.moments[rows].sum(0))
        before = float(log_likelihood(leaf.moments))
        for key in _KEYS:
            asked, member = self._asked[key]
            values, of_row = np.unique(self.column(key)[rows], return_inverse=True)
            if len(values) < 2 or not asked:
                continue
            by_value = (of_row == np.arange(len(values))[:, None]).astype(float) @ self.stats.moments[rows]
            yes = member[:, values] @ by_value
            gains = log_likelihood(yes) + log_likelihood(leaf.moments - yes) - before
            best = int(gains.argmax())
            if gains[best] > leaf.gain:
                leaf.key, leaf.yes, leaf.gain = key, asked[best], float(gains[best])
        return leaf

    def column(self, key: int) -> NDArray[np.int64]:
        """The value of a key in each row."""
        return self.stats.pdf_class if key == STATE_KEY else self.stats.windows[:, key]

    def split(self, leaf: _Branch) -> None:
        """Give a leaf its two children."""
        inside = np.isin(self.column(leaf.key)[leaf.rows], list(leaf.yes))
        leaf.children = self.branch(leaf.rows[inside]), self.branch(leaf.rows[~inside])


def build_tree(
    stats: TreeStats,
    questions: list[frozenset[int]],
    topo: HmmTopology,
    roots: list[Root],
    max_leaves: int,
) -> tuple[ContextTree, Array]:
    """The triphone tree and the moments [P, 1 + 2 D] of the frames of each of its pdfs.

    `max_leaves` is before merging; a leaf splits when that gains `MIN_GAIN`, and leaves of one root merge when that
    loses less than the last split gained.
    """
    grower = _Grower(stats, questions)
    stubs = [_plant(grower, root, topo) for root in roots]
    flat = [branch for stub in stubs for branch in stub.values()]
    if len(flat) > max_leaves:
        raise UserError(f"{max_leaves} leaves asked for, but there are {len(flat)} roots; ask for more leaves")
    last_gain = _grow(grower, [b for r, s in zip(roots, stubs) if r.split for b in s.values()], max_leaves - len(flat))
    next_pdf = 0
    for branch in flat:
        next_pdf = _merge(_leaves(branch), last_gain, next_pdf)
    moments = np.zeros((next_pdf, stats.moments.shape[1]))
    for branch in flat:
        for leaf in _leaves(branch):
            moments[leaf.pdf] += leaf.moments
    children: list[Node | None] = [None] * (max(topo.phones) + 1)
    for root, stub in zip(roots, stubs):
        for phone in root.phones:
            children[phone] = _stub_node(stub)
    return ContextTree(3, 1, Table(1, tuple(children))), moments


def _plant(grower: _Grower, root: Root, topo: HmmTopology) -> dict[int, _Branch]:
    """The trees of a root by pdf class; by -1 where one tree serves all classes."""
    rows = np.flatnonzero(np.isin(grower.stats.windows[:, 1], root.phones))
    if root.shared:
        return {-1: grower.branch(rows)}
    classes = max(topo.num_pdf_classes(phone) for phone in root.phones)
    return {k: grower.branch(rows[grower.stats.pdf_class[rows] == k]) for k in range(classes)}


def _grow(grower: _Grower, leaves: list[_Branch], splits: int) -> float:
    """Split at most `splits` times, the best first; the gain of the last split."""
    heap = [(-leaf.gain, number, leaf) for number, leaf in enumerate(leaves)]
    heapq.heapify(heap)
    last_gain, number = 0.0, len(heap)
    while splits > 0 and heap and -heap[0][0] >= MIN_GAIN:
        _, _, leaf = heapq.heappop(heap)
        last_gain = leaf.gain
        splits -= 1
        grower.split(leaf)
        for child in leaf.children or ():
            heapq.heappush(heap, (-child.gain, number, child))
            number += 1
    return last_gain


def _leaves(branch: _Branch) -> list[_Branch]:
    if branch.children is None:
        return [branch]
    return [leaf for child in branch.children for leaf in _leaves(child)]


def _merge(leaves: list[_Branch], threshold: float, next_pdf: int) -> int:
    """Number the pdfs of a root's leaves from `next_pdf`, one number for those merged; the next free number."""
    groups = [[k] for k in range(len(leaves))]
    moments = np.stack([leaf.moments for leaf in leaves])
    score = log_likelihood(moments)
    joint = log_likelihood(moments[:, None] + moments[None])
    loss = score[:, None] + score[None] - joint
    np.fill_diagonal(loss, np.inf)
    while len(leaves) > 1:
        first, second = sorted(np.unravel_index(loss.argmin(), loss.shape))
        if not loss[first, second] < threshold:
            break
        groups[first] += groups[second]
        groups[second] = []
        moments[first] += moments[second]
        score[first] = log_likelihood(moments[first])
        gone = np.array([not group for group in groups])
        row = score + score[first] - log_likelihood(moments + moments[first])
        row[gone | (np.arange(len(groups)) == first)] = np.inf
        loss[first], loss[:, first] = row, row
        loss[second], loss[:, second] = np.inf, np.inf
    for group in filter(None, groups):
        for k in group:
            leaves[k].pdf = next_pdf
        next_pdf += 1
    return next_pdf


def _stub_node(stub: dict[int, _Branch]) -> Node:
    if -1 in stub:
        return _node(stub[-1])
    return Table(STATE_KEY, tuple(_node(stub[k]) for k in sorted(stub)))


def _node(branch: _Branch) -> Node:
    if branch.children is None:
        return Constant(branch.pdf)
    yes, no = (_node(child) for child in branch.children)
    # Two leaves merged again ask nothing.
    return yes if yes == no else Split(branch.key, branch.yes, yes, no)


def gmms_from_moments(moments: Array) -> GmmSet:
    """One Gaussian per pdf from [P, 1 + 2 D]; that of all frames for a pdf without any."""
    dim = (moments.shape[1] - 1) // 2
    filled = np.where(moments[:, :1] > 0, moments, moments.sum(0))
    means = filled[:, 1 : 1 + dim] / filled[:, :1]
    variances = np.maximum(filled[:, 1 + dim :] / filled[:, :1] - means**2, VARIANCE_FLOOR)
    return GmmSet(np.arange(len(moments) + 1), np.ones(len(moments)), means, variances)
