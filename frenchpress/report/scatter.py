"""Points with error bars over a logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frenchpress.report.figure import Draw
from frenchpress.report.labels import write_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (9.5, 5.5)
"""Inches, with room for names and a legend."""
_MOST_NAMES = 40  # more would hide the points
_TICKS = {6: (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8), 100: (1, 2, 5)}
"""Ticks of a decade, up to so many times the smallest x at the largest."""


@dataclass(frozen=True)
class Point:
    """A value `y` at `x` (above 0), its name, and half the length of its error bar, if it has one."""

    x: float
    y: float
    label: str
    error: float | None = None


@dataclass(frozen=True)
class Series:
    """Points of one colour; `hollow` for what is not one's own."""

    name: str
    points: Sequence[Point]
    hollow: bool = False


def scatter(title: str, x_label: str, y_label: str, series: Sequence[Series]) -> Draw:
    """What draws all points of `series`, their names (those of hollow ones left out), and a legend."""

    def draw(axes: Axes) -> None:
        axes.set(title=title, xlabel=x_label, ylabel=y_label, xscale="log")
        for one in series:
            _points(axes, one)
        _widen(axes, [p.x for one in series for p in one.points])
        _ticks(axes)
        axes.grid(color="#e8e8e8")
        axes.set_axisbelow(True)
        axes.margins(0.06)
        if series:
            axes.figure.legend(loc="outside right upper", frameon=False, fontsize=8)
        named = [(p.x, p.y, p.label) for one in series for p in one.points if not one.hollow]
        write_names(axes, named if len(named) <= _MOST_NAMES else [])

    return draw


def _widen(axes: Axes, xs: Sequence[float]) -> None:
    """Where all points have about one x, leave room on both sides of it."""
    if xs and max(xs) < 1.01 * min(xs):
        axes.set_xlim(min(xs) / 2, 2 * max(xs))


def _points(axes: Axes, series: Series) -> None:
    xs, ys = [p.x for p in series.points], [p.y for p in series.points]
    errors = [p.error or 0.0 for p in series.points] if any(p.error for p in series.points) else None
    paint = {"markerfacecolor": "white"} if series.hollow else {}
    axes.errorbar(xs, ys, errors, fmt="o", markersize=5, capsize=2, elinewidth=1, label=series.name, **paint)


def _ticks(axes: Axes) -> None:
    """Short plain numbers, 400k, since few know 4 x 10^5 bytes at sight; fewer of them where there are many decades."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=next((t for most, t in _TICKS.items() if high < most * low), (1,))))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
