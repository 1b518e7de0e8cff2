"""The patterns that the blocks of a mask have in common beside places of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frenchpress.compress.codes.index import Mask
from frenchpress.compress.codes.pattern import cut_blocks

_COMPARED, _PAIRS, _CANDIDATES = 2000, 200_000, 512


def shared_patterns(mask: Mask, height: int, width: int, places: int) -> Mask:
    """Patterns of `places` weights, bool [n, height, width], one of which most whole blocks keep; n is 0 to 512.

    Two blocks with the same pattern keep it both, and little else: what any two of 2000 blocks have in common, where it
    is `places` weights, is counted. Of the most frequent the one that most blocks keep comes first, then the one that
    most of the rest do, while it is kept by two or more.
    """
    blocks = cut_blocks(mask, height, width)[0].reshape(-1, height * width)
    candidates = _in_common(blocks[:: -(-len(blocks) // _COMPARED) or 1], places)
    held = blocks.astype(np.float32) @ candidates.T.astype(np.float32) >= places
    left, chosen = np.ones(len(blocks), np.bool_), []
    while len(candidates) > len(chosen):
        gains = held[left].sum(0)
        best = int(gains.argmax())
        if gains[best] < 2:
            break
        chosen.append(best)
        left &= ~held[:, best]
    return candidates[chosen].reshape(-1, height, width)


def _in_common(blocks: NDArray[np.bool_], places: int) -> NDArray[np.bool_]:
    """The most frequent intersections of two blocks [blocks, size] that have `places` weights: bool [n, size]."""
    kept = blocks.astype(np.float32)
    one, other = np.nonzero(np.triu(kept @ kept.T == places, 1))
    step = -(-len(one) // _PAIRS) or 1
    both = blocks[one[::step]] & blocks[other[::step]]
    found, counts = np.unique(np.packbits(both, axis=1), axis=0, return_counts=True)
    best = found[np.argsort(-counts, kind="stable")[:_CANDIDATES]]
    return np.unpackbits(best, axis=1, count=blocks.shape[1]).astype(np.bool_)
