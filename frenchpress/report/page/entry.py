"""An experiment as the page shows it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from frenchpress.common import UserError, read_yaml
from frenchpress.config import Config, config_to_dict, load_config
from frenchpress.nnet.checkpoint import SUMMARY
from frenchpress.report.collect import System, settings

DEFAULTS = "defaults"
Base = tuple[str, dict[str, Any]]
"""A configuration that others are held against, and what it is called."""


@dataclass(frozen=True)
class Entry:
    """An experiment as the page shows it; `system` is all that must be known.

    `place`: its directory, where there is one: learning curves, matrices and confusions are read from there. `group`:
    has a colour. `base`: what its configuration is held against. `commands`: to repeat it. `figures`: more of them by
    key, a column each (frenchpress.report.page.columns; a key that is not there is its own title). `note`: what else
    has to be known of it.
    """

    system: System
    place: Path | None = None
    group: str = ""
    base: Base | None = None
    commands: tuple[str, ...] = ()
    figures: Mapping[str, float | None] = field(default_factory=dict)
    note: str = ""


def experiment_entry(
    place: Path, system: System, group: str = "", figures: Mapping[str, float | None] | None = None
) -> Entry:
    """The experiment in `place`, which `read_experiment` has read as `system`, with base and commands of its .cfg."""
    base = base_of(Path(system.cfg)) if system.cfg else None
    return Entry(system, place, group, base, tuple(_commands(place, system)), figures or {})


@lru_cache(maxsize=256)
def base_of(cfg: Path) -> Base:
    """What a .cfg extends; the defaults where it extends nothing or is not there any more."""
    try:
        name = read_yaml(cfg).get("base")
        if isinstance(name, str):
            return name, config_to_dict(load_config(cfg.parent / name))
    except UserError:
        pass
    return DEFAULTS, config_to_dict(Config())


def _commands(place: Path, system: System) -> list[str]:
    """How an experiment was made, by ./run.sh and step by step."""
    lines = []
    if system.cfg and Path(system.cfg).stem == system.group:
        words = ["./run.sh", "--stage", "4", "--conf", system.cfg]
        words += [] if system.name == system.group else ["--seeds", str(system.seed)]
        words += [] if place.parent == Path("exp") else ["--exp", str(place.parent)]
        lines.append(shlex.join(words))
    summary = read_yaml(place / SUMMARY) if (place / SUMMARY).is_file() else {}
    if summary.get("command"):
        lines.append(str(summary["command"]))
        lines.append(shlex.join(["steps/decode.sh", str(summary.get("task", "exp/task")), str(place)]))
    return lines


def compared(config: Mapping[str, Any]) -> dict[str, str]:
    """What configurations are compared by: dotted keys and their values as text, without seed and decoding."""
    return dict(_flat(json.loads(settings(config)), ""))


def _flat(tree: Mapping[str, Any], above: str) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if isinstance(value, str) else json.dumps(value, default=str)
