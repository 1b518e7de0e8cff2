"""Questions about phones, found in the data: sets of phones that sound alike.

Phones are split in two again and again so that two Gaussians fit their frames best; each set met on the way is
a question. Source: Chou, "Optimal partitioning for classification and regression trees", IEEE PAMI 13(4), 1991,
for the k-means-like split.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from frenchpress.gmm.gmms import Array
from frenchpress.gmm.treestats import TreeStats, log_likelihood

_ROUNDS = 20


def phone_questions(stats: TreeStats, sets: list[list[int]], pdf_class: int = 1) -> list[frozenset[int]]:
    """Sets of phones, from the frames of one pdf class; phones in one of `sets` always stay together."""
    moments = np.zeros((len(sets), stats.moments.shape[1]))
    for row, phones in enumerate(sets):
        moments[row] = stats.moments[np.isin(stats.windows[:, 1], phones) & (stats.pdf_class == pdf_class)].sum(0)
    found: list[frozenset[int]] = []
    pending = [np.flatnonzero(moments[:, 0] > 0)]
    while pending:
        members = pending.pop()
        if len(members):
            found.append(frozenset(phone for row in members for phone in sets[row]))
        if len(members) > 1:
            second = split_in_two(moments[members])
            pending += [members[second], members[~second]]
    return in_order(found)


def in_order(questions: Iterable[frozenset[int]]) -> list[frozenset[int]]:
    """Each question once, in an order that does not depend on how they were found."""
    return sorted(set(questions), key=lambda question: (len(question), sorted(question)))


def split_in_two(moments: Array) -> NDArray[np.bool_]:
    """Which of at least two rows of `moments` [R, 1 + 2 D] to part from the others; never all, never none."""
    dim = (moments.shape[1] - 1) // 2
    count = moments[:, 0]
    means = moments[:, 1 : 1 + dim] / count[:, None]
    centred = (means - np.average(means, axis=0, weights=count)) * np.sqrt(count)[:, None]
    direction = np.linalg.svd(centred, full_matrices=False)[2][0]
    along = means @ direction
    rank = np.argsort(along, kind="stable")
    total = moments.sum(0)
    cut = moments[rank].cumsum(0)[:-1]
    best = int((log_likelihood(cut) + log_likelihood(total - cut)).argmax())
    second = np.ones(len(moments), bool)
    second[rank[: best + 1]] = False
    second = _refine(moments, second)
    return second if second[0] else ~second


def _refine(moments: Array, second: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Move single rows to the other side as long as the likelihood gains."""
    total = moments.sum(0)
    for _ in range(_ROUNDS * len(moments)):
        side = moments[second].sum(0)
        sign = np.where(second, -1.0, 1.0)[:, None]
        moved = side + sign * moments
        scores = log_likelihood(moved) + log_likelihood(total - moved)
        scores[(second & (second.sum() == 1)) | (~second & ((~second).sum() == 1))] = -np.inf
        best = int(scores.argmax())
        if scores[best] <= log_likelihood(side) + log_likelihood(total - side) + 1e-6:
            break
        second = second.copy()
        second[best] = not second[best]
    return second
