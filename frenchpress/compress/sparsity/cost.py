"""What the index of a mask takes: the fewest bits that any of the index codes needs for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from frenchpress.common import UserError
from frenchpress.compress.codes import INDEX_CODES, IndexCode, make_index_code
from frenchpress.compress.codes.bits import BitWriter
from frenchpress.compress.codes.hcgs import Hcgs
from frenchpress.compress.codes.index import Mask
from frenchpress.compress.codes.pattern import Pattern
from frenchpress.compress.sparsity.base import MaskMethod

_LARGEST_DICTIONARY = 4096


def cheapest_index(masks: Sequence[Mask], method: MaskMethod) -> tuple[str, int]:
    """Name of the code that holds all `masks`, bool [rows, columns] each, in the fewest bits, and those bits.

    Counted is all that the code writes, its options and dictionary included; the matrix's shape, which a reader knows,
    is not. Every code can be read back (frenchpress.compress.codes).
    """
    sizes: dict[str, int] = {}
    for name, codes in _candidates(masks, method):
        try:
            sizes[name] = min(sizes.get(name, 1 << 62), sum(_bits(code, mask) for code, mask in zip(codes, masks)))
        except UserError:  # this code cannot hold such a mask
            continue
    return min(sizes.items(), key=lambda item: item[1])


def _candidates(masks: Sequence[Mask], method: MaskMethod) -> Iterator[tuple[str, list[IndexCode]]]:
    """Every code, and the ones that know something of the method, one object per mask."""
    for name in INDEX_CODES:
        if name != "hcgs":
            yield name, [make_index_code(name).fit(mask) for mask in masks]
    sides = tuple(side for side, _ in method.hierarchy) or ((method.side,) if method.side else ())
    if sides:
        yield "hcgs", [Hcgs(sides)] * len(masks)
    if method.pattern_size is not None:
        dictionaries = [_dictionary(mask, *method.pattern_size) for mask in masks]
        if all(d is not None for d in dictionaries):
            yield "pattern", [Pattern(d) for d in dictionaries]


def _bits(code: IndexCode, mask: Mask) -> int:
    out = BitWriter()
    code.write(mask, out)
    return out.bits


def _dictionary(mask: Mask, height: int, width: int) -> Mask | None:
    """The different whole blocks of a mask [n, height, width]; None where there are too many, or none."""
    down, across = mask.shape[0] // height, mask.shape[1] // width
    if not down * across or max(height, width) > 64:
        return None
    whole = mask[: down * height, : across * width].reshape(down, height, across, width)
    blocks = np.unique(whole.transpose(0, 2, 1, 3).reshape(-1, height * width), axis=0)
    return blocks.reshape(-1, height, width) if len(blocks) <= _LARGEST_DICTIONARY else None
