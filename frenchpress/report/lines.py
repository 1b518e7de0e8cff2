"""A picture of lines over two logarithmic axes, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from frenchpress.report.svg import COLOURS, document, text

_LEFT, _TOP, _WIDTH, _HEIGHT, _RIGHT, _BOTTOM = 70, 44, 460, 330, 350, 56
_GREY = "#d8d8d8"


@dataclass(frozen=True)
class Line:
    """A line through points (x, y), all above 0. Lines of one `group` have one colour."""

    name: str
    points: Sequence[tuple[float, float]]
    group: int
    dashed: bool = False


@dataclass(frozen=True)
class _Axis:
    """Values from `low` to `high` on pixels `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)


def lines_svg(title: str, x_label: str, y_label: str, lines: Sequence[Line]) -> str:
    """An SVG document; ValueError when a number is not above 0. Ticks of x stand where points are."""
    xs = sorted({x for line in lines for x, _ in line.points})
    ys = [y for line in lines for _, y in line.points]
    if not xs or min(*xs, *ys) <= 0:
        raise ValueError("logarithmic axes need points with numbers above 0")
    across = _Axis(xs[0] / 1.15, xs[-1] * 1.15, _LEFT, _LEFT + _WIDTH)
    ticks = _ticks(min(ys), max(ys))
    up = _Axis(ticks[0], ticks[-1], _TOP + _HEIGHT, _TOP)
    parts = [text(12, 22, title, ' font-weight="bold"'), *_grid(across, up, xs, ticks), *_labels(x_label, y_label)]
    for number, line in enumerate(lines):
        parts += [*_line(line, across, up), *_legend(line, _TOP + 12 + 22 * number)]
    return document(_LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + _BOTTOM, parts)


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, from at most `low` to at least `high`, two or more."""
    power = math.floor(math.log10(low))
    steps = [step * 10.0**p for p in range(power, math.ceil(math.log10(high)) + 2) for step in (1, 2, 5)]
    first = max(i for i, step in enumerate(steps) if step <= low * (1 + 1e-9))
    last = min(i for i, step in enumerate(steps) if step >= high * (1 - 1e-9))
    return steps[first : max(last, first + 1) + 1]


def _grid(across: _Axis, up: _Axis, xs: Sequence[float], ys: Sequence[float]) -> list[str]:
    parts = []
    for x in xs:
        parts.append(_stroke([(across.at(x), up.start), (across.at(x), up.end)], _GREY))
        parts.append(text(across.at(x), up.start + 18, f"{x:g}", ' text-anchor="middle"'))
    for y in ys:
        parts.append(_stroke([(across.start, up.at(y)), (across.end, up.at(y))], _GREY))
        parts.append(text(across.start - 8, up.at(y) + 4, f"{y:g}", ' text-anchor="end"'))
    return parts


def _labels(x_label: str, y_label: str) -> list[str]:
    x, y = _LEFT + _WIDTH / 2, _TOP + _HEIGHT / 2
    turned = f' text-anchor="middle" transform="rotate(-90 16 {y:.1f})"'
    return [text(x, _TOP + _HEIGHT + 42, x_label, ' text-anchor="middle"'), text(16, y, y_label, turned)]


def _line(line: Line, across: _Axis, up: _Axis) -> list[str]:
    points = [(across.at(x), up.at(y)) for x, y in line.points]
    colour = COLOURS[line.group % len(COLOURS)]
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return [_stroke(points, colour, 2, line.dashed), *dots]


def _legend(line: Line, y: float) -> list[str]:
    x = _LEFT + _WIDTH + 16
    stroke = _stroke([(x, y - 4), (x + 26, y - 4)], COLOURS[line.group % len(COLOURS)], 2, line.dashed)
    return [stroke, text(x + 34, y, line.name)]


def _stroke(points: Sequence[tuple[float, float]], colour: str, width: int = 1, dashed: bool = False) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}/>'
