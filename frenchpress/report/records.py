"""Records of runs, kept beside a study: what RESULTS.md says of a run, without its model.

`recipes/X/runs/<experiment>-seed<N>.yaml` has the configuration of a finished run, the task and model by their digests,
what it took and what it came to. Where `exp/` is gone, or on another machine, a study goes on from its records: what is
recorded is not trained again, save where a run still to be made starts or learns from its model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from frenchpress.common import UserError, digest, read_yaml, write_if_changed
from frenchpress.nnet.checkpoint import CONFIG, read_header
from frenchpress.nnet.given import INIT, TEACHER
from frenchpress.nnet.model import FINAL
from frenchpress.report.collect import System, measured, settings
from frenchpress.report.epochs import read_epochs
from frenchpress.report.lineage import joined, named_models

RUNS = "runs"
_KEYS = {"lineage", "task", "model", "device", "config", "system"}


@dataclass(frozen=True)
class Record:
    """A finished run. `lineage`: as `Study.lineage`. `task`, `model`: digests. `config`: resolved, as plain values."""

    lineage: str
    task: str
    model: str
    device: str
    config: dict[str, Any]
    system: System


def record_path(recipe: Path, run: str) -> Path:
    """Where the record of `run`, `<experiment>-seed<N>`, is kept."""
    return recipe / RUNS / f"{run}.yaml"


def write_record(path: Path, place: Path, system: System, lineage: str, device: str) -> None:
    """Write the record of the finished run in `place`, if that is not what is there."""
    task = read_header(place / CONFIG).get("task", "")
    system = replace(system, epochs=read_epochs(place))
    values = asdict(Record(lineage, task, digest(place / FINAL), device, read_yaml(place / CONFIG), system))
    # In the record already, as `config`; and the file that it was written to.
    for key in ("config", "cfg"):
        del values["system"][key]
    write_if_changed(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110))


def read_record(path: Path) -> Record:
    """The record at `path`; UserError, naming it, for anything else."""
    values = read_yaml(path)
    try:
        if set(values) != _KEYS:
            raise ValueError(f"keys are {', '.join(map(str, values))}, expected {', '.join(sorted(_KEYS))}")
        said = dict(values["system"])
        for split in ("dev", "test"):
            said[split] = measured(said[split])
        said["codes"] = tuple(said["codes"])
        said = given_names_of(values["config"]) | said | {"config": settings(values["config"])}
        return Record(**{**values, "system": System(**said)})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not the record of a run ({error}); remove it, and the run is made again") from None


def given_names_of(config: dict[str, Any]) -> dict[str, str]:
    """What a record says that was made before it said which runs its own starts and learns from."""
    named, seed = named_models(config), str(config.get("seed"))
    names = {key: name.replace("{seed}", seed).rpartition("/")[2] for key, name in named.items()}
    said = {"starts_from": joined(names, INIT), "learns_from": joined(names, TEACHER)}
    return {key: name for key, name in said.items() if name}


def is_record_of(path: Path, lineage: str) -> bool:
    """Is `path` the record of a run of this lineage? UserError if it says so and is damaged."""
    # Studies have many records, and YAML is slow to read.
    return path.is_file() and f"lineage: {lineage}\n" in path.read_text("utf-8") and bool(read_record(path))
