"""Points with error bars over a logarithmic axis, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_COLOURS = ("#4a6fa5", "#c9793f", "#5f8a4e", "#9a4b57", "#7a5fa0", "#3f8f8f", "#8a7a3a", "#6b6b6b", "#b05fa0")
_LEFT, _TOP, _WIDTH, _HEIGHT, _LEGEND = 60, 40, 620, 400, 260
_LABEL = 11  # pixels between the labels of neighbours
_MOST_LABELS = 40  # of more points the names are shown under the pointer alone


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


@dataclass(frozen=True)
class _Frame:
    """Where values lie on the page; x is logarithmic."""

    low: float
    high: float
    bottom: float
    top: float

    def x(self, value: float) -> float:
        return _LEFT + _WIDTH * math.log(value / self.low) / math.log(self.high / self.low)

    def y(self, value: float) -> float:
        return _TOP + _HEIGHT * (self.top - value) / (self.top - self.bottom)


def scatter_svg(title: str, x_label: str, y_label: str, series: Sequence[Series]) -> str:
    """An SVG document with all points of `series`, their names, and a legend."""
    frame = _frame([p for s in series for p in s.points])
    width, height = _LEFT + _WIDTH + _LEGEND, _TOP + _HEIGHT + 50
    middle = _TOP + _HEIGHT / 2
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(_LEFT, 22, title, ' font-weight="bold"'),
        _text(_LEFT + _WIDTH / 2, height - 12, x_label, ' text-anchor="middle"'),
        _text(16, middle, y_label, f' text-anchor="middle" transform="rotate(-90 16 {middle})"'),
        *_axes(frame),
    ]
    for number, one in enumerate(series):
        colour = _COLOURS[number % len(_COLOURS)]
        lines += [_marker(_LEFT + _WIDTH + 20, _TOP + 18 * number, colour, one.hollow, one.name)]
        lines += [_text(_LEFT + _WIDTH + 30, _TOP + 18 * number + 4, one.name)]
        lines += [line for point in one.points for line in _point(frame, point, colour, one.hollow)]
    named = [p for s in series for p in s.points if not s.hollow]
    lines += _labels(frame, named if len(named) <= _MOST_LABELS else [])
    return "\n".join([*lines, "</svg>"]) + "\n"


def _frame(points: Sequence[Point]) -> _Frame:
    """Room for all points and their bars, and a little more."""
    xs = [p.x for p in points] or [1.0]
    low = min((p.y - (p.error or 0) for p in points), default=0.0)
    high = max((p.y + (p.error or 0) for p in points), default=1.0)
    margin = max(0.08 * (high - low), 0.5)
    return _Frame(min(xs) / 1.15, max(xs) * 1.25, low - margin, high + margin)


def _axes(frame: _Frame) -> list[str]:
    lines = [f'<rect x="{_LEFT}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>']
    exponents = range(math.floor(math.log10(frame.low)), math.ceil(math.log10(frame.high)) + 1)
    inside = [d * 10.0**e for e in exponents for d in range(1, 10) if frame.low <= d * 10.0**e <= frame.high]
    # Nine ticks a decade are too many where there is more than one.
    for tick in inside if frame.high < 10 * frame.low else [t for t in inside if f"{t:e}"[0] in "125"]:
        x = frame.x(tick)
        lines += [_line(x, _TOP + _HEIGHT, x, _TOP + _HEIGHT + 5, "#999")]
        lines += [_text(x, _TOP + _HEIGHT + 18, f"{tick:,.10g}", ' text-anchor="middle"')]
    rough = (frame.top - frame.bottom) / 8
    step = next(d * 10.0**e for e in range(-3, 12) for d in (1, 2, 5) if d * 10.0**e >= rough)
    for i in range(math.ceil(frame.bottom / step), math.floor(frame.top / step) + 1):
        y = frame.y(i * step)
        lines += [_line(_LEFT, y, _LEFT + _WIDTH, y, "#e4e4e4")]
        lines += [_text(_LEFT - 8, y + 4, f"{i * step:.10g}", ' text-anchor="end"')]
    return lines


def _point(frame: _Frame, point: Point, colour: str, hollow: bool) -> list[str]:
    x, lines = frame.x(point.x), []
    if point.error:
        low, high = frame.y(point.y - point.error), frame.y(point.y + point.error)
        lines = [_line(x, low, x, high, colour), *(_line(x - 3, end, x + 3, end, colour) for end in (low, high))]
    return [*lines, _marker(x, frame.y(point.y), colour, hollow, point.label)]


def _labels(frame: _Frame, points: Sequence[Point]) -> list[str]:
    """Names to the right of their points, moved down where one would lie on another."""
    lines, placed = [], list[tuple[float, float]]()
    for point in sorted(points, key=lambda p: -p.y):
        x, y = frame.x(point.x) + 7, frame.y(point.y) + 4
        for other_x, other_y in sorted(placed, key=lambda place: place[1]):
            if abs(other_x - x) < 6 * len(point.label) + 6 and abs(other_y - y) < _LABEL:
                y = other_y + _LABEL
        placed.append((x, y))
        lines.append(_text(x, y, point.label, ' font-size="10" fill="#444"'))
    return lines


def _marker(x: float, y: float, colour: str, hollow: bool, name: str) -> str:
    paint = f'fill="{"white" if hollow else colour}" stroke="{colour}" stroke-width="1.5"'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {paint}><title>{escape(name)}</title></circle>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(text)}</text>'
