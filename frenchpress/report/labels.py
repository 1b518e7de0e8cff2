"""Names beside points of a figure, each where it hides least."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Box = tuple[float, float, float, float]
"""Left, bottom, right and top, in pixels."""
_SIZE = 7  # of letters, in points
_DISTANCES = (6.0, 14.0, 26.0, 40.0, 56.0)  # of a name from its point, in points
_DIRECTIONS = 12
_LED = 10.0  # from this distance on a line leads to the point
_FAR, _OUTSIDE = 0.5, 100.0  # what a point of distance costs, and a square pixel outside, in square pixels hidden


def write_names(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Write the name of each (x, y, name), off one another and inside the frame as far as there is room."""
    figure = axes.figure
    figure.draw_without_rendering()  # lays axes out, so that places in pixels are known
    scale = figure.dpi / 72
    spots = [tuple(map(float, axes.transData.transform(point[:2]))) for point in points]
    taken = [_around(x, y, 8 * scale, 8 * scale) for x, y in spots]
    frame = tuple(axes.bbox.extents)
    for (x, y, name), spot in sorted(zip(points, spots), key=lambda pair: -pair[1][1]):
        text = axes.annotate(name, (x, y), textcoords="offset points", xytext=(0, 0), fontsize=_SIZE, color="#333")
        size = text.get_window_extent()
        boxes = {place: _beside(spot, place, scale, size.width, size.height) for place in _places()}
        distance, angle = min(boxes, key=lambda place: _cost(boxes[place], taken, frame) + _FAR * place[0])
        box = boxes[distance, angle]
        taken.append(box)
        text.xyann = (box[0] - spot[0]) / scale, (box[1] - spot[1]) / scale
        if distance > _LED:
            middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            _lead(axes, spot, middle, distance * scale)


def _places() -> Iterator[tuple[float, float]]:
    """Distances and angles at which a name may stand, the nearest first."""
    for distance in _DISTANCES:
        for k in range(_DIRECTIONS):
            yield distance, 2 * math.pi * k / _DIRECTIONS


def _beside(spot: tuple[float, ...], place: tuple[float, float], scale: float, width: float, height: float) -> Box:
    """The box of a name in that place: it touches the circle of that distance from outside."""
    distance, angle = place
    x = spot[0] + math.cos(angle) * (distance * scale + width / 2)
    y = spot[1] + math.sin(angle) * (distance * scale + height / 2)
    return _around(x, y, width, height)


def _around(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _cost(box: Box, taken: Sequence[Box], frame: tuple[float, ...]) -> float:
    """Square pixels that a name in `box` hides, and many times those that lie outside of the frame."""
    outside = _area(box) - _shared(box, frame)
    return sum(_shared(box, other) for other in taken) + _OUTSIDE * outside


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _shared(one: Box, other: tuple[float, ...]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def _lead(axes: Axes, spot: tuple[float, ...], middle: tuple[float, float], length: float) -> None:
    """A thin line of `length` pixels from a point towards the middle of its name."""
    whole = math.dist(spot, middle)
    end = tuple(s + (m - s) * length / whole for s, m in zip(spot, middle))
    xs, ys = zip(*axes.transData.inverted().transform([spot, end]))
    axes.plot(xs, ys, color="#999", linewidth=0.5, zorder=1)
