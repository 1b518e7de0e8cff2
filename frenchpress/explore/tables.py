"""The tables of an exploration."""

from __future__ import annotations

import re
from collections.abc import Mapping

import optuna
from optuna.trial import FrozenTrial, TrialState

from frenchpress.common.progress import duration
from frenchpress.explore.metrics import METRICS
from frenchpress.explore.outcome import Outcome, counts, failures, volumes
from frenchpress.explore.select import front
from frenchpress.explore.storage import TEST, Store
from frenchpress.explore.trials import FOUND, INTERVAL, LEFT_OUT, RUN, SECONDS
from frenchpress.explore.worker import searches
from frenchpress.report.markdown import markdown

_FEWEST = 10
"""Designs that importances need."""
_DIGITS = re.compile(r"[\d.]+")


def front_table(outcome: Outcome) -> list[str]:
    """The front of the highest rung, what it was chosen by, test, and the values of its variables."""
    space, tests = outcome.space, {t.user_attrs[RUN]: t for t in outcome.measured(TEST)}
    shown = list(dict.fromkeys(["dev_per", *space.file.minimise, "stored_bytes", "macs"]))
    trials = sorted(front(outcome.measured(outcome.last)), key=lambda t: t.values)
    shown = [name for name in shown if all(name in _found(t, tests) for t in trials)]
    head = ["experiment", *(METRICS[name].title for name in shown), "PER test", *space.file.vary]
    rows = []
    for trial in trials:
        run, found = trial.user_attrs[RUN], _found(trial, tests)
        cells = [METRICS[name].text(found[name]) for name in shown]
        rows.append([run, *cells, _test(tests.get(run)), *(str(trial.params.get(n, "-")) for n in space.file.vary)])
    return markdown(head, rows)


def _found(trial: FrozenTrial, tests: Mapping[str, FrozenTrial]) -> dict[str, float]:
    """What is known of a design; dev PER of those whose front was chosen by frame error comes with test."""
    test = tests.get(trial.user_attrs[RUN])
    return trial.user_attrs[FOUND] | ({} if test is None else {"dev_per": test.user_attrs[FOUND]["dev_per"]})


def _test(trial: FrozenTrial | None) -> str:
    if trial is None:
        return "-"
    low, high = trial.user_attrs[INTERVAL]
    return f"{trial.values[0]:.2f} [{low:.1f}, {high:.1f}]"


def front_lines(outcome: Outcome) -> list[str]:
    """How many designs it is of, and what limits them."""
    space, measured = outcome.space, outcome.measured(outcome.last)
    rung = space.rungs[0] if outcome.last in searches(space) else outcome.last
    limits = ", ".join(f"{limit.name} at most {METRICS[limit.name].text(limit.bound)}" for limit in space.limits)
    said = f"Of {len(measured)} designs on the rung `{rung}`"
    said += f" that keep {limits}" if limits else ""
    chip = [] if space.chip is None else [f"Chip: {space.chip.file.title} ({space.chip.name})."]
    return [f"{said}; minimised: {', '.join(space.file.minimise)}.", *chip]


def hypervolume_table(outcome: Outcome) -> list[str]:
    """Hypervolume over the number of designs, search by search."""
    steps = counts(outcome)
    found = volumes(outcome, steps) if steps else {}
    rows = [[name, *(f"{x:.3f}" for x in values)] for name, values in found.items()]
    return markdown(["hypervolume after so many designs", *map(str, steps)], rows)


def importance_table(outcome: Outcome, store: Store) -> list[str]:
    """Optuna's importances of the variables for each thing that is minimised, and for the front."""
    stage = next(iter(searches(outcome.space)))
    study, measured = store.study(stage), outcome.measured(stage)
    if len(measured) < _FEWEST or len(outcome.space.file.vary) < 2:
        return []
    targets = {name: (lambda t, i=i: t.values[i]) for i, name in enumerate(outcome.space.file.minimise)}
    importances = optuna.importance.get_param_importances
    found = {METRICS[name].title: importances(study, target=target) for name, target in targets.items()}
    if len(targets) > 1:
        found["the front"] = importances(study)
    rows = [[name, *(f"{100 * f.get(name, 0.0):.0f} %" for f in found.values())] for name in outcome.space.file.vary]
    return markdown(["importance", *found], rows)


def stage_table(outcome: Outcome) -> list[str]:
    """Trials of each stage by how they ended."""
    rows = []
    for name, trials in outcome.stages.items():
        refused = sum(LEFT_OUT in t.user_attrs and t.state == TrialState.PRUNED for t in trials)
        same = sum(LEFT_OUT not in t.user_attrs and t.state == TrialState.PRUNED for t in trials)
        failed = len(failures(trials))
        seconds = sum(t.user_attrs.get(SECONDS, 0.0) for t in trials)
        rows.append([name, str(len(outcome.measured(name))), str(refused), str(same), str(failed), duration(seconds)])
    return markdown(["stage", "measured", "refused untrained", "seen before", "failed", "time of all workers"], rows)


def left_out_lines(outcome: Outcome) -> list[str]:
    """Why designs were refused, and what failed."""
    every = [t for trials in outcome.stages.values() for t in trials]
    reasons: dict[str, list[str]] = {}
    for reason in (t.user_attrs[LEFT_OUT] for t in every if LEFT_OUT in t.user_attrs):
        reasons.setdefault(_DIGITS.sub("#", reason), []).append(reason)
    lines = [f"- refused untrained, {len(said)} times: {said[0]}" for said in reasons.values()]
    return lines + [f"- {run} failed: {problem}" for run, problem in failures(every).items()]
