"""A study, as `recipes/X/study.yaml` says it: experiments, and the published figures they are held against."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from frenchpress.common import UserError, nearest
from frenchpress.common.document import Document, parse_override, read_one
from frenchpress.common.typed import fill, ranged
from frenchpress.config import Config, config_to_dict, load_config
from frenchpress.config.schema import LARGEST_SEED
from frenchpress.nnet.given import given_names
from frenchpress.report.grid import choices, put

STUDY = "study.yaml"
OTHERS = "Others"
"""The group of experiments that name none."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SEED = re.compile(r"-seed\d+")


@dataclass(frozen=True)
class Published:
    """A published PER, in percent, and that of the float model of the same source."""

    per: float | None = ranged(None, low=0.0, high=100.0)
    float_per: float | None = ranged(None, low=0.0, high=100.0)

    def __post_init__(self) -> None:
        if self.per is None:
            raise UserError("needs `per`, the published PER in percent")


@dataclass(frozen=True)
class Entry:
    """One entry of `experiments`. With `grid` it is a pattern: an experiment for each choice of values."""

    base: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, Any] = field(default_factory=dict)
    group: str | None = None
    seeds: tuple[int, ...] | None = ranged(None, low=0, high=LARGEST_SEED)
    baseline: str | None = None
    published: Published | None = None
    note: str = ""


@dataclass(frozen=True)
class Variant:
    """One entry of `variants`: the experiments that match `of` once more, with something changed."""

    of: tuple[str, ...] = ()
    overrides: dict[str, Any] = field(default_factory=dict)
    group: str | None = None
    seeds: tuple[int, ...] | None = ranged(None, low=0, high=LARGEST_SEED)
    baseline: str | None = None
    note: str = ""


@dataclass(frozen=True)
class StudyFile:
    """Everything that a study.yaml may say."""

    title: str = ""
    asks: str = ""
    seeds: tuple[int, ...] = ranged((2234,), low=0, high=LARGEST_SEED)
    base: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    baseline: str | None = None
    experiments: dict[str, Entry] = field(default_factory=dict)
    variants: dict[str, Variant] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.title or not self.experiments:
            raise UserError(f"needs {'experiments' if self.title else 'a title'}")


@dataclass(frozen=True)
class Experiment:
    """A design point: a .cfg, what is laid over it, and what the table says of it.

    `twin`: the experiment that it is a variant of. `baseline`: the one that its PER is set against.
    """

    name: str
    place: str
    base: Path
    overrides: tuple[Document, ...]
    group: str
    seeds: tuple[int, ...]
    baseline: str | None
    published: Published | None
    note: str
    twin: str | None = None

    def config(self, overrides: Sequence[str] = ()) -> Config:
        """Its configuration, with `overrides` (`train.epochs=2`) laid over it; UserError if bad.

        An experiment that does not train, of `epochs: 0`, gets no epochs by them.
        """
        more = list(map(parse_override, overrides))
        for layer in (*self.overrides, *more):
            if "seed" in layer.values:
                raise UserError(f"{layer.origin(('seed',))}: seed: a study says `seeds`, and its command --seeds")
        if not more:
            return self._as_written
        changed = self._load(more)
        return changed if self._as_written.train.epochs else replace(changed, train=replace(changed.train, epochs=0))

    @cached_property
    def _as_written(self) -> Config:
        """Kept, since tables and lineages ask for it again and again."""
        return self._load(())

    def _load(self, more: Sequence[Document]) -> Config:
        try:
            return load_config(self.base, [*self.overrides, *more])
        except UserError as error:
            raise UserError(f"{error} (experiment {self.name})") from None


@dataclass(frozen=True)
class Study:
    """A study as read: experiments by name, in the order in which they run."""

    path: Path
    title: str
    asks: str
    experiments: dict[str, Experiment]
    left_out: dict[str, str]

    def chosen(self, patterns: Sequence[str]) -> list[str]:
        """Names that match one of `patterns`, all if there is none; UserError for a pattern that matches nothing."""
        for pattern in patterns:
            if not _matching(pattern, self.experiments):
                raise UserError(f"{self.path}: no experiment {pattern}{nearest(pattern, self.experiments)}")
        return [n for n in self.experiments if not patterns or any(fnmatchcase(n, p) for p in patterns)]

    def configs(self, overrides: Sequence[str] = ()) -> dict[str, Config]:
        """The configuration of every experiment, whose seed means nothing yet; UserError if one is bad."""
        return {name: replace(experiment.config(overrides), seed=0) for name, experiment in self.experiments.items()}

    def runs(self) -> dict[str, str]:
        """The experiment whose runs are those of each one: the first that has the same configuration."""
        first: dict[str, str] = {}
        return {
            name: first.setdefault(json.dumps(config_to_dict(config)), name) for name, config in self.configs().items()
        }

    def lineage(self, config: Config, task: str, overrides: Sequence[str] = (), below: tuple[str, ...] = ()) -> str:
        """What tells a run of `config`, which has its seed, on the task of digest `task` from others.

        A digest of both and of the lineages of the experiments of this study that it starts or learns from, `overrides`
        laid over each: the same on every machine, which the digest of a trained model is not. `below`: the runs that
        led here. UserError where a run comes round to itself.
        """
        parents = {}
        for key, name in given_names(config).items():
            run = name.replace("{seed}", str(config.seed))
            other, _, seed = run.rpartition("-seed")
            if other not in self.experiments or not seed.isdecimal():
                continue
            if run in below:
                circle = " -> ".join([*below[below.index(run) :], run])
                raise UserError(f"{self.experiments[other].place}: {key}: circular: {circle}")
            parent = replace(self.experiments[other].config(overrides), seed=int(seed))
            parents[key] = self.lineage(parent, task, overrides, (*below, run))
        content = json.dumps([config_to_dict(config), task, parents], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def load_study(directory: Path) -> Study:
    """The study in `directory`; UserError, with file and line, for what is not legal or names what is not there."""
    path = directory / STUDY
    document = read_one(path)
    said: StudyFile = fill(StudyFile, document.values, document)
    experiments: dict[str, Experiment] = {}
    for key in said.experiments:
        _add(experiments, _from_entry(key, said, document, path))
    originals = dict(experiments)
    for key, variant in said.variants.items():
        _add(experiments, _from_variant(key, variant, document, originals))
    for e in experiments.values():
        if e.baseline is not None and e.baseline not in experiments:
            near = nearest(e.baseline, experiments)
            raise UserError(f"{e.place}: baseline: no experiment {e.baseline}{near} (experiment {e.name})")
    return Study(path, said.title, said.asks.strip(), experiments, said.left_out)


def _from_entry(key: str, said: StudyFile, document: Document, path: Path) -> Iterator[Experiment]:
    entry, place = said.experiments[key], document.origin(("experiments", key))
    base = entry.base or said.base
    if base is None:
        raise UserError(f"{place}: experiments.{key}: needs `base`, the .cfg that it extends")
    if entry.grid and entry.published:
        raise UserError(f"{place}: experiments.{key}: a published figure is of one point and not of a grid")
    own = document.section("experiments", key, "overrides")
    for values in choices(entry.grid, f"{document.origin(('experiments', key, 'grid'))}: experiments.{key}.grid"):
        yield Experiment(
            str(put(key, values)),
            place,
            path.parent / base,
            (document.section("overrides"), replace(own, values=put(own.values, values))),
            str(put(entry.group or "", values)),
            entry.seeds or said.seeds,
            entry.baseline or said.baseline,
            entry.published,
            str(put(entry.note, values)),
        )


def _from_variant(
    key: str, variant: Variant, document: Document, originals: dict[str, Experiment]
) -> Iterator[Experiment]:
    place = document.origin(("variants", key))
    if not variant.of:
        raise UserError(f"{place}: variants.{key}: needs `of`, a list of experiments or patterns")
    for pattern in variant.of:
        if not _matching(pattern, originals):
            raise UserError(f"{place}: variants.{key}.of: no experiment {pattern}{nearest(pattern, originals)}")
    own = document.section("variants", key, "overrides")
    for name, original in originals.items():
        if any(fnmatchcase(name, pattern) for pattern in variant.of):
            yield replace(
                original,
                name=f"{name}-{key}",
                place=place,
                overrides=(*original.overrides, replace(own, values=put(own.values, {"name": name}))),
                group=str(put(variant.group or "{group}", {"group": original.group or OTHERS})),
                seeds=variant.seeds or original.seeds,
                baseline=variant.baseline or original.baseline,
                note=variant.note,
                twin=name,
            )


def _add(experiments: dict[str, Experiment], more: Iterable[Experiment]) -> None:
    """Take in `more`; UserError for a name that is there already or that cannot be that of a directory."""
    for e in more:
        if e.name in experiments:
            raise UserError(f"{e.place}: two experiments are named {e.name}; let the name say what tells them apart")
        if not _NAME.fullmatch(e.name) or _SEED.search(e.name):
            raise UserError(
                f"{e.place}: {e.name!r} names a directory: letters, digits, dots, dashes and no -seed1 or the like"
            )
        if len(set(e.seeds)) < len(e.seeds):
            raise UserError(f"{e.place}: seeds: {list(e.seeds)} has one twice (experiment {e.name})")
        experiments[e.name] = e


def _matching(pattern: str, names: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)
