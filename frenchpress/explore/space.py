"""A space of designs, as `recipes/X/space.yaml` says it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from frenchpress.common import UserError
from frenchpress.common.document import Document, KeyPath
from frenchpress.common.typed import blame, ranged
from frenchpress.config import Config, config_to_dict, load_config
from frenchpress.explore.metrics import Limit, check_names
from frenchpress.explore.variables import Label, Variable
from frenchpress.hardware.chip import Chip
from frenchpress.report.grid import put

SPACE = "space.yaml"
BELOW = "below"
"""In braces in the overrides of a rung: the experiment of the same design on the rung below."""
_BRACES = re.compile(r"\{(\w+)\}")
Values = Mapping[str, Label]


@dataclass(frozen=True)
class Rung:
    """A way to train designs. `keep`: the share of those of the rung below that get so far, the best ones."""

    keep: Fraction = Fraction(1, 2)
    overrides: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Search:
    """How designs are proposed. `population`: of nsga2. `beside`: another search with the same number of trials, to
    hold it against.
    """

    sampler: Literal["nsga2", "tpe", "random", "grid"] = "nsga2"
    seed: int = ranged(1, low=0, high=2**31)
    population: int = ranged(20, low=2, high=10000)
    beside: Literal["none", "random"] = "none"

    def __post_init__(self) -> None:
        if self.beside == self.sampler:
            raise UserError(f"beside: {self.beside} is the sampler itself; use none")


@dataclass(frozen=True)
class SpaceFile:
    """Everything that a space.yaml may say. `trials`: designs that the first rung trains."""

    title: str = ""
    asks: str = ""
    base: str = ""
    overrides: dict[str, Any] = field(default_factory=dict)
    vary: dict[str, Variable] = field(default_factory=dict)
    chip: str | None = None
    minimise: tuple[str, ...] = ()
    constraints: dict[str, Any] = field(default_factory=dict)
    search: Search = field(default_factory=Search)
    trials: int = ranged(0, low=1, high=100000)
    rungs: dict[str, Rung] = field(default_factory=lambda: {"once": Rung()})

    def __post_init__(self) -> None:
        examples = {"title": "a line", "base": "../../conf/w6a13.cfg", "vary": "{...}", "minimise": "[dev_per, macs]"}
        for name, example in ({"trials": "60"} | examples).items():
            if not getattr(self, name):
                raise UserError(f"{name}: missing, such as `{name}: {example}`")
        if not self.rungs:
            raise UserError("rungs: is empty; leave it out, or name one, such as `short: {overrides: {...}}`")
        check_names(self.minimise)
        if len(set(self.minimise)) < len(self.minimise):
            raise UserError(f"minimise: {list(self.minimise)} has one twice")


@dataclass(frozen=True)
class Space:
    """A space that is sound. `document` is the file, with the places of its keys."""

    path: Path
    file: SpaceFile
    document: Document
    limits: tuple[Limit, ...]
    chip: Chip | None

    @property
    def name(self) -> str:
        """Of its directory."""
        return self.path.resolve().parent.name

    @property
    def base(self) -> Path:
        """The .cfg that all designs extend."""
        return self.path.parent / self.file.base

    @property
    def rungs(self) -> list[str]:
        """Names of the rungs, the lowest first."""
        return list(self.file.rungs)

    @property
    def asked(self) -> set[str]:
        """Metrics that it minimises or limits."""
        return {*self.file.minimise, *(limit.name for limit in self.limits)}

    def active(self, chosen: Values) -> Iterator[tuple[str, Variable]]:
        """Variables that are there where those before them have the values in `chosen`, which may grow meanwhile."""
        return ((name, variable) for name, variable in self.file.vary.items() if variable.active(chosen))

    def config(self, values: Values, rung: str, below: str = "") -> Config:
        """The configuration of a design on a rung; UserError, with file and line, where it is none.

        `below`: name of its experiment on the rung below.
        """
        meanings = {name: self.file.vary[name].meaning(label) for name, label in values.items()}
        layers = [self.document.section("overrides"), *self._chosen(values, meanings)]
        layers.append(self.document.section("rungs", rung, "overrides"))
        names = meanings | ({BELOW: below} if below else {})
        return load_config(self.base, [self._filled(layer, names) for layer in layers])

    def _chosen(self, values: Values, meanings: Mapping[str, Any]) -> Iterator[Document]:
        """What the chosen values lay over the configuration."""
        for name, label in values.items():
            place = ("vary", name)
            if isinstance(self.file.vary[name].choices, dict):
                yield self.document.section(*place, "choices", str(label))
            elif is_key(name):
                yield one_key(name, meanings[name], self.document.origin((*place, "choices")))

    def _filled(self, layer: Document, values: Mapping[str, Any]) -> Document:
        """`layer` with values for names in braces; UserError for a variable that is not there."""
        values = replace(layer, values=put(layer.values, dict(values)))
        for path, name in left_over(values.values):
            if name in self.file.vary or name == BELOW:
                why = "the lowest rung has none below it" if name == BELOW else "is not chosen here (its `when`)"
                raise blame(layer, path, f"{{{name}}}: {why}")
        return values

    def identity(self) -> dict[str, Any]:
        """What must be the same where a search goes on, as plain values. More trials may be asked for."""
        values = json.loads(json.dumps(self.document.values, default=str))
        for key in ("title", "asks", "trials"):
            values.pop(key, None)
        return values | {"base": config_to_dict(load_config(self.base)), "chip": _text(self.chip)}


def is_key(name: str) -> bool:
    """Whether the name of a variable is a key of a .cfg: it has a dot."""
    return "." in name


def one_key(key: str, value: Any, place: str) -> Document:
    """`compress.lstm0.weight_bits` with its value, as a document whose keys all stand at `place`."""
    path = tuple(key.split("."))
    tree: Any = value
    for part in reversed(path):
        tree = {part: tree}
    return Document(tree, {path[:n]: place for n in range(1, len(path) + 1)})


def left_over(tree: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Names in braces in a tree, each with its path."""
    if isinstance(tree, dict):
        for key, item in tree.items():
            yield from left_over(item, (*path, key))
    elif isinstance(tree, list):
        for item in tree:
            yield from left_over(item, path)
    elif isinstance(tree, str):
        yield from ((path, name) for name in _BRACES.findall(tree))


def run_name(config: Config, task: str) -> str:
    """Name of the experiment of a configuration on the task of this digest: the same for the same two, anywhere."""
    content = json.dumps([config_to_dict(config), task], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:10]


def _text(chip: Chip | None) -> str:
    return "" if chip is None else repr(chip.file)
