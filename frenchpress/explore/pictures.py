"""The figures of an exploration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial

from frenchpress.explore.metrics import METRICS
from frenchpress.explore.outcome import Outcome, counts, volumes
from frenchpress.explore.select import front, kept
from frenchpress.explore.trials import RUN
from frenchpress.explore.worker import searches
from frenchpress.report.figure import Draw
from frenchpress.report.scatter import Point, Series, scatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def figures(outcome: Outcome) -> dict[str, Draw]:
    """Name of each figure and what draws it: the front over each cost, and hypervolume over the number of designs."""
    error, *costs = outcome.space.file.minimise
    found = {f"{error}_{cost}": _front(outcome, error, cost) for cost in costs}
    return found | ({"hypervolume": _volumes(outcome)} if len(counts(outcome)) > 1 else {})


def _front(outcome: Outcome, error: str, cost: str) -> Draw:
    """All designs of the highest rung over one cost; the front by name."""
    names = outcome.space.file.minimise
    x, y = names.index(cost), names.index(error)

    def points(trials: Sequence[FrozenTrial]) -> list[Point]:
        return [Point(t.values[x], t.values[y], t.user_attrs[RUN]) for t in trials]

    every = kept(outcome.measured(outcome.last))
    best = front(every)
    series = [Series(f"front in {', '.join(names)}", points(best))]
    series.append(Series("other designs", points([t for t in every if t not in best]), hollow=True))
    return scatter(outcome.space.file.title, cost, METRICS[error].title, series)


def _volumes(outcome: Outcome) -> Draw:
    """Hypervolume of the first so many designs of each search."""
    steps, kinds = counts(outcome), searches(outcome.space)

    def draw(axes: Axes) -> None:
        for name, values in volumes(outcome, steps).items():
            axes.plot(steps, values, "o-", markersize=4, label=kinds[name])
        axes.set(title=outcome.space.file.title, xlabel="designs on the lowest rung", ylabel="hypervolume")
        axes.legend(frameon=False)

    return draw
