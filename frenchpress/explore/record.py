"""The record of an exploration, `trials.yaml` beside its space: every design that was measured, without its model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from frenchpress.common import UserError, read_yaml, write_if_changed
from frenchpress.explore.costs import Found

RECORD = "trials.yaml"


def read_known(path: Path, task: str, results: bool) -> dict[tuple[str, str], Found]:
    """What the experiments in a record have come to, by rung and name; nothing where there is no record.

    UserError where it is of another task than the one of digest `task` and no other place was named for `results`.
    """
    if not path.is_file():
        return {}
    said = read_yaml(path)
    try:
        known = dict(_found(said["stages"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: not the record of an exploration ({error}); move it away") from None
    if said.get("task") == task:
        return known
    if not results:
        raise UserError(f"{path}: was made on another task; add --results DIR to have yours there")
    return {}


def _found(stages: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[tuple[str, str], Found]]:
    for trials in stages.values():
        for trial in trials:
            if "rung" in trial:
                yield (trial["rung"], trial["run"]), {name: float(x) for name, x in trial["found"].items()}


def write_record(path: Path, task: str, stages: dict[str, list[dict[str, Any]]]) -> None:
    """Write the record, if that is not what is there. `stages`: trials as plain values, by stage."""
    text = yaml.safe_dump({"task": task, "stages": stages}, sort_keys=False, allow_unicode=True, width=110)
    write_if_changed(path, text)
