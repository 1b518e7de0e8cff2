"""Read a space.yaml, and try every choice in it before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frenchpress.common import UserError, blaming, nearest
from frenchpress.common.document import Document, read_one
from frenchpress.common.typed import blame, fill
from frenchpress.explore.metrics import METRICS, Limit, read_limit
from frenchpress.explore.space import BELOW, SPACE, Space, SpaceFile, Values, is_key, left_over
from frenchpress.explore.variables import Label, listed
from frenchpress.hardware.chip import load_chip


def load_space(directory: Path) -> Space:
    """The space in `directory`; UserError, with file and line, for what is not legal in it.

    Every choice is tried once, with the first choices of the others.
    """
    path = directory / SPACE
    document = read_one(path)
    file: SpaceFile = fill(SpaceFile, document.values, document)
    if not (path.parent / file.base).is_file():
        raise blame(document, ("base",), f"no file {path.parent / file.base}")
    limits = tuple(_limit(name, text, document) for name, text in file.constraints.items())
    space = Space(path, file, document, limits, load_chip(path.parent / file.chip) if file.chip else None)
    _check_chip(space)
    _check_variables(space)
    for values in _examples(space):
        space.config(values, space.rungs[0])
    first = next(_examples(space))
    for rung in space.rungs[1:]:
        space.config(first, rung, BELOW)
    return space


def _limit(name: str, text: Any, document: Document) -> Limit:
    try:
        return read_limit(name, text)
    except UserError as error:
        raise blame(document, ("constraints", name), str(error)) from None


def _check_chip(space: Space) -> None:
    for name in sorted(space.asked):
        if METRICS[name].chip and space.chip is None:
            raise UserError(f"{space.path}: {name}: is of a chip; say which: `chip: ../../chips/banks65.yaml`")


def _check_variables(space: Space) -> None:
    """UserError for a variable that changes nothing, or that hangs on one that is not there."""
    vary, used = space.file.vary, {name for _, name in left_over(space.document.values)}
    for number, (name, variable) in enumerate(vary.items()):
        with blaming(f"{space.document.origin(('vary', name))}: vary.{name}"):
            if not (is_key(name) or isinstance(variable.choices, dict) or name in used):
                raise UserError(f"changes nothing: it is no key of a .cfg, and {{{name}}} is nowhere in the overrides")
            for other, values in variable.when.items():
                before = list(vary)[:number]
                if other not in before or vary[other].choices is None:
                    raise UserError(f"when: no choices of {other} are said before it{nearest(other, before)}")
                _check_choices(other, listed(values), vary[other].labels)
            if space.file.search.sampler == "grid":
                variable.grid()


def _check_choices(name: str, values: list[Any], labels: list[Label]) -> None:
    for value in values:
        if value not in labels:
            raise UserError(f"when: {name}: no choice {value!r}{nearest(value, map(str, labels))}")


def _examples(space: Space) -> Iterator[Values]:
    """Designs in which every choice of every variable comes once, the first choices of all first."""
    yield _with(space, {})
    for name, variable in space.file.vary.items():
        for label in variable.examples[1:]:
            yield _with(space, {name: label})
        # Of a variable that is only there with others, the first choice too.
        if variable.when:
            yield _with(space, {name: variable.examples[0]})


def _with(space: Space, wanted: Values) -> Values:
    """A design with the values `wanted`, with those that they need, and else with first choices."""
    wanted = dict(wanted)
    for name in reversed(list(space.file.vary)):
        if name in wanted:
            wanted |= {k: listed(v)[0] for k, v in space.file.vary[name].when.items() if k not in wanted}
    chosen: dict[str, Label] = {}
    for name, variable in space.active(chosen):
        chosen[name] = wanted.get(name, variable.examples[0])
    return chosen
