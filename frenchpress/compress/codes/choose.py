"""All index codes on the masks of a matrix: the streams that each takes, and their bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from frenchpress.common import UserError
from frenchpress.compress.codes.container import INDEX_CODES
from frenchpress.compress.codes.index import IndexCode, Mask, Origin, smallest


@dataclass(frozen=True, eq=False)
class Coding:
    """The masks of a matrix in one code: a stream for each, `(mask bool [rows, columns], code)`, from the top down.

    `bits`: all that the code writes, its options and dictionary included; the shapes of the masks, which stand in the
    header of an encoded matrix, are not.
    """

    name: str
    streams: tuple[tuple[Mask, IndexCode], ...]
    bits: int


def index_codings(masks: Sequence[Mask], origins: Sequence[Origin]) -> tuple[dict[str, Coding], dict[str, str]]:
    """Every code that can hold all `masks`, bool [rows, columns] each, by name; and why each other one cannot.

    `origins`: what is known of each mask. Of what a code can choose, the choice with the fewest bits is taken, for
    every mask by itself.
    """
    found, refused = {}, {}
    for name, kind in INDEX_CODES.items():
        try:
            best = [smallest(kind.candidates(mask, origin), mask) for mask, origin in zip(masks, origins)]
        except UserError as error:
            refused[name] = str(error)
        else:
            streams = tuple((mask, code) for mask, (code, _) in zip(masks, best))
            found[name] = Coding(name, streams, sum(bits for _, bits in best))
    return found, refused


def cheapest(found: dict[str, Coding]) -> Coding:
    """The coding with the fewest bits, the first one registered among equals; any mask has a `bitmap`."""
    return min(found.values(), key=lambda coding: coding.bits)
