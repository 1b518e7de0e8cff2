"""A mask that almost follows another one: that one, and what is kept inside and outside of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.common.bits import BitReader, BitWriter
from frenchpress.compress.codes.bitmap import Bitmap, Full, Lines
from frenchpress.compress.codes.blockcoo import BlockCoo
from frenchpress.compress.codes.coordinates import Coo, Csc, Csr
from frenchpress.compress.codes.hcgs import Hcgs
from frenchpress.compress.codes.index import IndexCode, Mask, Origin, bits_of, smallest
from frenchpress.compress.codes.pattern import Pattern, nearest
from frenchpress.compress.codes.runlength import RunLength
from frenchpress.compress.codes.shared import shared_patterns

# The place in these lists is written into the bytes; add at the end. No layer lies in a layer.
_OUTER: tuple[type[IndexCode], ...] = (Bitmap, Coo, Csr, Csc, RunLength, BlockCoo, Pattern, Hcgs, Lines)
_FORMS: tuple[type[IndexCode], ...] = (Full, Bitmap, RunLength, RunLength)
_OUTER_BITS, _FORM_BITS = 4, 2


@dataclass(frozen=True, eq=False)
class Layered(IndexCode):
    """`layer`, bool [rows / g, columns], in the code `outer`, once for g masks on top of each other; then exceptions.

    Exceptions are two lists, of the places inside of the layer and of those outside, row by row, each in the form with
    the fewest bits, which 2 bits name: nothing, where all inside is kept or all outside is removed; a bit each; run
    lengths of the kept ones; run lengths of the removed ones.
    """

    name = "layered"
    outer: IndexCode | None = None
    layer: Mask | None = None

    def __post_init__(self) -> None:
        if (self.outer is None) != (self.layer is None) or not isinstance(self.outer, (*_OUTER, type(None))):
            raise UserError("index code layered: takes a layer, a mask, and outer, the code that it is written in")

    @property
    def options(self) -> str:
        """The outer code and its options."""
        return "" if self.outer is None else f"{self.outer.name} {self.outer.options}".strip()

    @classmethod
    def candidates(cls, mask: Mask, origin: Origin) -> Sequence[IndexCode]:
        """In the structure that was thinned; over the patterns that blocks share."""
        found = [*_thinned(origin), *_over_patterns(mask, origin)]
        if not found:
            raise UserError("index code layered: the mask was not made by pruning another one or adding weights to it")
        return found

    def write(self, mask: Mask, out: BitWriter) -> None:
        """Append outer code, g, the layer, what differs inside, what differs outside."""
        if self.outer is None or self.layer is None:
            raise UserError("index code layered: say which mask lies beneath, layer, and its code, outer")
        copies = len(mask) // max(1, len(self.layer))
        if not copies or (copies * len(self.layer), self.layer.shape[1]) != mask.shape:
            raise UserError(
                f"index code layered: a layer of {list(self.layer.shape)} does not fit a mask of {list(mask.shape)}"
            )
        out.put(_OUTER.index(type(self.outer)), _OUTER_BITS)
        out.put_varint(copies)
        self.outer.write(self.layer, out)
        inside = np.tile(self.layer, (copies, 1))
        _put_part(mask[inside], True, out)
        _put_part(mask[~inside], False, out)

    @classmethod
    def read(cls, rows: int, columns: int, source: BitReader) -> Mask:
        """Outer code, g, the layer, what differs inside, what differs outside."""
        number, copies = source.take_one(_OUTER_BITS), source.take_varint()
        if number >= len(_OUTER) or not copies or copies > max(1, rows) or rows % copies:
            raise UserError(f"encoded matrix: damaged (layer of code {number}, {copies} times in {rows} rows)")
        mask = np.tile(_OUTER[number].read(rows // copies, columns, source), (copies, 1))
        inside = mask.copy()
        mask[inside] = _take_part(int(np.count_nonzero(inside)), True, source)
        mask[~inside] = _take_part(int(np.count_nonzero(~inside)), False, source)
        return mask


def _forms(part: Mask, usual: bool) -> Iterator[tuple[IndexCode, Mask]]:
    """What each form writes of `part`, bool [1, n], which is `usual` where nothing differs."""
    for form, kept in zip(_FORMS, (part == usual, part, part, ~part)):
        yield form().fit(kept), kept


def _put_part(part: NDArray[np.bool_], usual: bool, out: BitWriter) -> None:
    forms, sizes = list(_forms(part[None], usual)), {}
    for number, (code, kept) in enumerate(forms):
        if not isinstance(code, Full) or kept.all():
            sizes[number] = bits_of(code, kept)
    best = min(sizes, key=lambda number: sizes[number])
    out.put(best, _FORM_BITS)
    code, kept = forms[best]
    code.write(kept, out)


def _take_part(count: int, usual: bool, source: BitReader) -> NDArray[np.bool_]:
    """Bool [count]."""
    number = source.take_one(_FORM_BITS)
    kept = _FORMS[number].read(1, count, source)[0]
    return (kept == usual, kept, kept, ~kept)[number]


def _thinned(origin: Origin) -> list[IndexCode]:
    """The structure in its cheapest code."""
    layer = origin.structure
    if layer is None or origin.structure_origin is None or layer.all():
        return []
    codes: list[IndexCode] = []
    for kind in _OUTER:
        try:
            codes += kind.candidates(layer, origin.structure_origin)
        except UserError:  # made otherwise
            continue
    return [Layered(smallest(codes, layer)[0], layer)]


def _over_patterns(mask: Mask, origin: Origin) -> list[IndexCode]:
    """Dictionaries of 1, 2, 4, ... of the patterns that blocks share, and of all of them."""
    if origin.shared is None:
        return []
    patterns = shared_patterns(mask, *origin.shared)
    sizes = sorted({len(patterns), *(1 << n for n in range(len(patterns).bit_length()))} - {0})
    return [Layered(Pattern(patterns[:size]), nearest(mask, patterns[:size])) for size in sizes]
