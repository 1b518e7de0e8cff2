"""A picture of horizontal stacked bars, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from frenchpress.report.svg import COLOURS, document, text

_ROW, _BAR, _LEFT, _WIDTH, _RIGHT = 26, 18, 190, 520, 190


@dataclass(frozen=True)
class Bar:
    """One bar: its name, the lengths of its parts (at least 0) in the order of the legend, the text behind it."""

    name: str
    parts: Sequence[float]
    text: str


def bars_svg(title: str, legend: Sequence[str], bars: Sequence[Bar]) -> str:
    """An SVG document with a bar per line on one scale; as many parts per bar as `legend` has names, five at most."""
    longest = max((sum(bar.parts) for bar in bars), default=0) or 1
    height = 70 + _ROW * len(bars)
    lines = [text(12, 22, title, ' font-weight="bold"'), *_legend(legend)]
    for number, bar in enumerate(bars):
        lines += _bar(bar, 62 + _ROW * number, _WIDTH / longest)
    return document(_LEFT + _WIDTH + _RIGHT, height, lines)


def _legend(names: Sequence[str]) -> list[str]:
    lines = []
    for number, name in enumerate(names):
        x = _LEFT + 110 * number
        lines += [_rect(x, 34, 12, 12, number), text(x + 18, 45, name)]
    return lines


def _bar(bar: Bar, y: float, scale: float) -> list[str]:
    lines, x = [text(_LEFT - 8, y + 14, bar.name, ' text-anchor="end"')], float(_LEFT)
    for number, part in enumerate(bar.parts):
        lines.append(_rect(x, y, part * scale, _BAR, number))
        x += part * scale
    return [*lines, text(x + 8, y + 14, bar.text)]


def _rect(x: float, y: float, width: float, height: float, colour: int) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{COLOURS[colour]}"/>'
