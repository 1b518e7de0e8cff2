"""What of a study need not be made: finished runs, records of runs, and the same runs of other studies."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from frenchpress.common import UserError, atomic_dir, atomic_path, is_done, read_lines
from frenchpress.config import Config, config_to_dict
from frenchpress.nnet.checkpoint import CHECKPOINT, CONFIG, stamp
from frenchpress.nnet.given import given_digests, given_names
from frenchpress.report.collect import read_experiment
from frenchpress.report.records import RUNS, read_record
from frenchpress.report.study_rows import departures


def finished(place: Path, config: Config, task: str) -> bool:
    """Has the run in `place` been trained and decoded as `config` says, on the task of digest `task`?"""
    try:
        if not is_done(place, stamp(config, task, given_digests(config, place))):
            return False
        begun = yaml.safe_load("\n".join(read_lines(place / CONFIG)))
        return not read_experiment(place).state and begun.get("decode") == config_to_dict(config)["decode"]
    except (UserError, yaml.YAMLError):  # a damaged or missing file is for the run itself to complain of
        return False


def recorded(path: Path, config: Config, task: str) -> bool:
    """Is there, at `path`, the record of a run as `config` says, on the task of digest `task`? UserError if damaged."""
    if not path.is_file():
        return False
    record = read_record(path)
    return record.task == task and not departures(record.config, config, config.seed)


def borrow_run(place: Path, config: Config, task: str) -> Path | None:
    """Copy to `place` the same run of another study beside this one's results, if there is one finished; says which.

    Float baselines are those of several studies. Its checkpoint stays where it is.
    """
    mine = stamp(config, task, given_digests(config, place))
    for twin in sorted(place.parent.parent.glob(f"*/*-seed{config.seed}")):
        if twin.parent != place.parent and is_done(twin, mine) and finished(twin, config, task):
            with atomic_dir(place) as temporary:
                shutil.copytree(twin, temporary, dirs_exist_ok=True, ignore=shutil.ignore_patterns(CHECKPOINT, ".lock"))
            return twin
    return None


def borrow_record(path: Path, config: Config, task: str) -> Path | None:
    """Copy to `path` the record of the same run of another study, if there is one; says which.

    Only of a run that neither starts nor learns from another: a name says nothing outside its study.
    """
    if given_names(config):
        return None
    for twin in sorted(path.parent.parent.parent.glob(f"*/{RUNS}/*-seed{config.seed}.yaml")):
        if twin.parent != path.parent and recorded(twin, config, task):
            with atomic_path(path) as temporary:
                temporary.write_bytes(twin.read_bytes())
            return twin
    return None
