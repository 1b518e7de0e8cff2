"""Lines over two logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frenchpress.report.figure import Draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (9.5, 4.5)
"""Inches, with room for a legend."""


@dataclass(frozen=True)
class Line:
    """A line through points (x, y), all above 0. Lines of one `group` have one colour."""

    name: str
    points: Sequence[tuple[float, float]]
    group: int
    dashed: bool = False


def lines(title: str, x_label: str, y_label: str, drawn: Sequence[Line]) -> Draw:
    """What draws lines and a legend; ValueError when a number is not above 0. Ticks of x stand where points are."""
    if not drawn or any(min(point) <= 0 for line in drawn for point in line.points):
        raise ValueError("logarithmic axes need points with numbers above 0")

    def draw(axes: Axes) -> None:
        axes.set(title=title, xlabel=x_label, ylabel=y_label, xscale="log", yscale="log")
        for line in drawn:
            style = "o--" if line.dashed else "o-"
            axes.plot(*zip(*line.points), style, color=f"C{line.group}", markersize=4, label=line.name)
        xs = sorted({x for line in drawn for x, _ in line.points})
        axes.set_xticks(xs, [f"{x:g}" for x in xs])
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.grid(color="#e8e8e8", which="both")
        axes.set_axisbelow(True)
        axes.figure.legend(loc="outside right upper", frameon=False, fontsize=8)

    return draw
