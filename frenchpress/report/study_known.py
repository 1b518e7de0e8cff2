"""What of a study need not be made: finished runs, and runs and records of other studies."""

from __future__ import annotations

import shutil
from pathlib import Path

from frenchpress.common import UserError, atomic_dir, is_done, read_yaml, write_if_changed
from frenchpress.config import Config, config_to_dict
from frenchpress.nnet.checkpoint import CHECKPOINT, CONFIG, POSTERIORS, stamp
from frenchpress.nnet.given import given_digests
from frenchpress.report.collect import read_experiment
from frenchpress.report.records import RUNS, is_record_of

_NOT_TAKEN = (CHECKPOINT, POSTERIORS, ".lock")


def finished(place: Path, config: Config, task: str) -> bool:
    """Has the run in `place` been trained and decoded as `config` says, on the task of digest `task`?"""
    try:
        if not is_done(place, stamp(config, task, given_digests(config, place))):
            return False
        begun = read_yaml(place / CONFIG)
        return not read_experiment(place).state and begun.get("decode") == config_to_dict(config)["decode"]
    except UserError:  # a damaged or missing file is for the run itself to complain of
        return False


def borrow_run(place: Path, config: Config, task: str) -> Path | None:
    """Copy to `place` the same run of another study beside this one's results, if there is one finished; says which.

    Float baselines are those of several studies. Its checkpoint and posteriors stay where they are. All that the run
    is given is there.
    """
    mine = stamp(config, task, given_digests(config, place))
    for twin in sorted(place.parent.parent.glob(f"[!.]*/[!.]*-seed{config.seed}")):
        if twin.parent != place.parent and is_done(twin, mine) and finished(twin, config, task):
            with atomic_dir(place) as temporary:
                shutil.copytree(twin, temporary, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_NOT_TAKEN))
            return twin
    return None


def borrow_record(path: Path, lineage: str, seed: int, recipes: Path) -> Path | None:
    """Copy to `path` the record of the same run of another study in `recipes`, if there is one; says which."""
    for twin in sorted(recipes.glob(f"[!.]*/{RUNS}/[!.]*-seed{seed}.yaml")):
        if is_record_of(twin, lineage):
            write_if_changed(path, twin.read_text("utf-8"))
            return twin
    return None
