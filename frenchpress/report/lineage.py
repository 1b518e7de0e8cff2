"""What it took to make a run: its own training, and that of the runs that it starts or learns from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frenchpress.common import digest, read_yaml
from frenchpress.nnet.checkpoint import CONFIG, SUMMARY, read_header
from frenchpress.nnet.given import INIT, TEACHER, named
from frenchpress.nnet.model import FINAL


@dataclass(frozen=True)
class Lineage:
    """`starts_from`, `learns_from`: names of runs, "" for none. `totals`: what is known of `epochs_in_all`, its own and
    those of all that it starts from, and `seconds_in_all`, of every run that led here, each once."""

    starts_from: str
    learns_from: str
    totals: dict[str, float]


def lineage(place: Path) -> Lineage:
    """Of the run in `place`. A run before it that is gone or was trained anew since leaves the totals unknown."""
    given = given_by(place)
    epochs, everything = _epochs(place), _everything(place)
    seconds = None if everything is None else [_own(run, "seconds") for run in everything]
    # In whatever order the runs come, the same to the last digit.
    whole = None if seconds is None or None in seconds else math.fsum(seconds)
    totals = {"epochs_in_all": epochs, "seconds_in_all": whole}
    names = {key: run.name for key, run in given.items()}
    known = {key: x for key, x in totals.items() if x is not None}
    return Lineage(joined(names, INIT), joined(names, TEACHER), known)


def joined(names: Mapping[str, str], kind: str) -> str:
    """The `names`, by key, that are of this kind (INIT or TEACHER): one, several with commas, or "" for none."""
    return ", ".join(name for key, name in names.items() if key.startswith(kind))


def given_by(place: Path) -> dict[str, Path]:
    """Directories of the models that the run in `place` was given, by key, as its config.yaml names them."""
    config = read_yaml(place / CONFIG)
    seed = str(config.get("seed"))
    return {key: place.parent / name.replace("{seed}", seed) for key, name in named_models(config).items()}


def named_models(config: Mapping[str, Any]) -> dict[str, str]:
    """The models that a configuration names, by key. It is as it was written, maybe by an earlier version."""
    train = _tree(config.get("train"))
    names = named(train.get("init"), train.get("mask_from"), _tree(train.get("distill")).get("teacher"))
    return {key: name for key, name in names.items() if isinstance(name, str)}


def _tree(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _own(place: Path, key: str) -> float | None:
    value = read_yaml(place / SUMMARY).get(key) if (place / SUMMARY).is_file() else None
    return value if isinstance(value, (int, float)) and value == value else None


def _known(place: Path, key: str, given: Path) -> bool:
    """Whether the run in `given` is still what the run in `place` was given as `key`."""
    if not (given / FINAL).is_file() or not (given / CONFIG).is_file():
        return False
    return read_header(place / CONFIG).get(key) in (None, digest(given / FINAL))


def _epochs(place: Path, below: tuple[Path, ...] = ()) -> float | None:
    """Epochs of a run and of those that it starts from."""
    own, parent = _own(place, "epochs"), given_by(place).get(INIT)
    if parent is None or own is None:
        return own
    if place in below or not _known(place, INIT, parent):
        return None
    before = _epochs(parent, (*below, place))
    return None if before is None else own + before


def _everything(place: Path, below: tuple[Path, ...] = ()) -> set[Path] | None:
    """The directories of a run and of all that led to it; None where one of them is not known."""
    found = {place.resolve()}
    for key, given in given_by(place).items():
        more = _everything(given, (*below, place)) if _known(place, key, given) and place not in below else None
        if more is None:
            return None
        found |= more
    return found
