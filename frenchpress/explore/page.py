"""The page of an exploration: every design that was measured, on the highest rung that it came to."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from optuna.trial import FrozenTrial

from frenchpress.explore.costs import Found
from frenchpress.explore.outcome import Outcome
from frenchpress.explore.trials import FOUND, RUN, Trials
from frenchpress.report.collect import System, read_experiment
from frenchpress.report.page import REPORT, Entry, experiment_entry, write_page

_COLUMNS = {"dev_per": "per_dev", "test_per": "per_test", "macs": "macs_kept"}
"""Columns of the page that are called otherwise than the figure of an exploration; the rest are called alike."""


def write_exploration_page(trials: Trials, outcome: Outcome, results: Path) -> Path:
    """Write EXP/report/index.html; `results` has the record of designs whose experiments are elsewhere."""
    entries: dict[str, Entry] = {}
    for stage in outcome.stages:
        for trial in outcome.measured(stage):
            run = trial.user_attrs[RUN]
            before = entries.get(run)
            group = before.group if before else stage
            entries[run] = _entry(trials, trial, group, before.figures if before else {})
    space, exp = trials.space, trials.experiments.exp
    command = f"./run.sh --explore {shlex.quote(str(space.path.parent))}"
    about = [space.file.asks.strip(), f"{command}; results are in {results}. Groups are the stages of the exploration."]
    return write_page(exp / REPORT, space.file.title, list(entries.values()), about=about)


def _entry(trials: Trials, trial: FrozenTrial, group: str, before: Mapping[str, float | None]) -> Entry:
    run, found = trial.user_attrs[RUN], trial.user_attrs[FOUND]
    figures = before | _figures(found)
    place = trials.experiments.place(run)
    if not (place / "config.yaml").is_file():
        return Entry(System(run, None, None, "its experiment is elsewhere"), group=group, figures=figures)
    # Test is decoded for the front alone, so a design without it lacks nothing.
    return experiment_entry(place, replace(read_experiment(place), state=""), group, figures)


def _figures(found: Found) -> dict[str, float | None]:
    return {_COLUMNS.get(name, name): value for name, value in found.items()}
