"""The picture of lines."""

import re
from xml.etree import ElementTree

import pytest

from frenchpress.report.lines import Line, lines_svg

SVG = "{http://www.w3.org/2000/svg}"
LINES = [
    Line("a & b", [(128, 5.0), (512, 40.0), (2048, 800.0)], 0),
    Line("c", [(128, 3.0), (2048, 30.0)], 1, dashed=True),
]


def places(element):
    return [tuple(map(float, pair.split(","))) for pair in element.get("points").split()]


def test_lines_lie_where_their_logarithms_are():
    root = ElementTree.fromstring(lines_svg("title", "cells", "us", LINES))
    drawn = [p for p in root.iter(f"{SVG}polyline") if p.get("stroke-width") == "2"]
    first, legend, second, _ = map(places, drawn)
    assert len(first) == 3 and len(second) == 2 and len(legend) == 2
    (x0, y0), (x1, y1), (x2, y2) = first
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)  # 4 times more, twice
    assert y0 > y1 > y2
    assert (y0 - y1) / (y1 - y2) == pytest.approx(3 * 0.30103 / 1.30103, rel=0.01)
    assert [p.get("stroke-dasharray") is not None for p in drawn] == [False, False, True, True]
    assert {p.get("stroke") for p in drawn[:2]} != {p.get("stroke") for p in drawn[2:]}


def test_ticks_and_names_are_there():
    texts = re.findall(r">([^<]+)</text>", lines_svg("title", "cells", "us", LINES))
    assert {"title", "cells", "us", "a &amp; b", "c", "128", "512", "2048", "2", "1000"} <= set(texts)


def test_all_is_within_the_picture():
    root = ElementTree.fromstring(lines_svg("t", "x", "y", LINES))
    width, height = float(root.get("width")), float(root.get("height"))
    for element in root.iter(f"{SVG}polyline"):
        assert all(0 <= x <= width and 0 <= y <= height for x, y in places(element))


def test_one_level_line_has_an_axis_too():
    assert "polyline" in lines_svg("t", "x", "y", [Line("a", [(1, 2.0)], 0)])


@pytest.mark.parametrize("lines", [[], [Line("a", [(0, 1.0)], 0)], [Line("a", [(1, 0.0)], 0)]])
def test_refuses_what_has_no_logarithm(lines):
    with pytest.raises(ValueError, match="above 0"):
        lines_svg("t", "x", "y", lines)
