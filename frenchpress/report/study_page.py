"""The page of a study: each run an experiment."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from frenchpress.config import config_to_dict, load_config
from frenchpress.report.page import REPORT, Entry, write_page
from frenchpress.report.study import Experiment, Study
from frenchpress.report.study_rows import Row, Run, loss, sections


def write_study_page(
    study: Study,
    runs: dict[str, list[Run]],
    exp: Path,
    results: Path,
    figures: Mapping[str, Mapping[str, float]] | None = None,
) -> Path:
    """Write <exp>/report/index.html of the runs that have a result; `figures`: more of each run, by its name."""
    entries: dict[str, Entry] = {}
    for departs, rows in sections(study, runs).items():
        named = {row.experiment.name: row for row in rows}
        for row in rows:
            below = loss_by_seed(row, named.get(row.experiment.baseline or ""))
            for run in row.runs:
                entry = run_entry(study, row.experiment, run, exp, results)
                more = {"to_baseline": below.get(run.seed), "published": row.published}
                more |= (figures or {}).get(entry.system.name, {})
                note = "; ".join(departs)
                # Of experiments that share their runs the first one has them.
                entries.setdefault(entry.system.name, replace(entry, figures=more, note=note))
    return write_page(exp / REPORT, study.title, list(entries.values()), about=[study.asks])


def loss_by_seed(row: Row, baseline: Row | None) -> dict[int, float]:
    """By how many points the test PER of each run lies above the baseline's of its seed, where that has been run."""
    alone = {run.seed: replace(row, runs=(run,)) for run in row.runs}
    found = {seed: loss(one, baseline) for seed, one in alone.items()}
    return {seed: lost.points for seed, lost in found.items() if lost is not None}


def run_entry(study: Study, experiment: Experiment, run: Run, exp: Path, results: Path) -> Entry:
    """A run that has a result, in `exp` or by its record."""
    name = f"{run.name}-seed{run.seed}"
    base = str(experiment.base.resolve().name), config_to_dict(load_config(experiment.base))
    words = ["./run.sh", "--recipe", str(study.path.parent), "--only", run.name, "--seeds", str(run.seed)]
    words += [] if results == study.path.parent else ["--results", str(results)]
    return Entry(replace(run.system, name=name), exp / name, experiment.group, base, (shlex.join(words),))
