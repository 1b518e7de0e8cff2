"""A grid of values, and text with the names of its axes in braces: `{bits}`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

from frenchpress.common import UserError

_BRACES = re.compile(r"\{(\w+)\}")


def choices(axes: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """Every choice of one value per axis, the last axis running fastest; one empty choice without axes.

    UserError, which begins with `where`, for an axis that is no list of words and numbers.
    """
    for axis, values in axes.items():
        scalars = isinstance(values, list) and all(isinstance(v, (str, int, float)) for v in values)
        if not scalars or not values:
            raise UserError(f"{where}.{axis}: expected a list of words or numbers, such as [8, 4, 2]")
    for values in product(*axes.values()):
        yield dict(zip(axes, values))


def put(tree: Any, values: dict[str, Any]) -> Any:
    """`tree` with the value of an axis for its name in braces: the value itself where the text is nothing else."""
    if isinstance(tree, dict):
        return {key: put(item, values) for key, item in tree.items()}
    if isinstance(tree, list):
        return [put(item, values) for item in tree]
    if not isinstance(tree, str):
        return tree
    alone = _BRACES.fullmatch(tree)
    if alone and alone[1] in values:
        return values[alone[1]]
    return _BRACES.sub(lambda found: str(values.get(found[1], found[0])), tree)
