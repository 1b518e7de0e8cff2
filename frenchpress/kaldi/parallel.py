"""The same function over many items in several processes, results in order."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Sequence[Item], nj: int = 1, chunk: int = 8
) -> Iterator[Result]:
    """`map(function, items)` by `nj` processes; what comes out does not depend on `nj`."""
    if nj <= 1 or len(items) <= chunk:
        yield from map(function, items)
        return
    with multiprocessing.Pool(min(nj, -(-len(items) // chunk))) as pool:
        results: Iterable[Result] = pool.imap(function, items, chunksize=chunk)
        yield from results
