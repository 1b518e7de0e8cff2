"""Points where their values are, bars as long as their errors, text that XML can hold."""

import re
from xml.etree import ElementTree

import pytest

from frenchpress.report.scatter import Point, Series, scatter_svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(series):
    return ElementTree.fromstring(scatter_svg("a <title>", "ratio", "PER, %", series))


def circles(root, name):
    return [c for c in root.iter(f"{SVG}circle") if c.find(f"{SVG}title").text == name]


def test_a_logarithmic_axis_spaces_equal_ratios_equally():
    points = [Point(x, 20.0, f"p{x}") for x in (1, 4, 16)]
    root = drawn([Series("ours", points)])
    xs = [float(circles(root, p.label)[0].get("cx")) for p in points]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)


def test_higher_rates_are_higher_up_and_bars_as_long_as_they_say():
    root = drawn([Series("ours", [Point(1, 20.0, "low", 1.0), Point(1, 30.0, "high", 2.0)])])
    low, high = (float(circles(root, name)[0].get("cy")) for name in ("low", "high"))
    assert high < low
    upright = [e for e in root.iter(f"{SVG}line") if e.get("x1") == e.get("x2") and e.get("stroke").startswith("#4")]
    lengths = sorted(abs(float(e.get("y1")) - float(e.get("y2"))) for e in upright)
    assert lengths[1] == pytest.approx(2 * lengths[0], abs=0.3)
    assert lengths[0] == pytest.approx(2 * (low - high) / 10, abs=0.3)


def test_one_point_none_and_many():
    assert circles(drawn([Series("ours", [Point(56.5, 21.0, "a & b")])]), "a & b")
    assert drawn([]) is not None
    many = [Point(1 + i, 20 + i, f"point{i}") for i in range(50)]
    texts = [e.text for e in drawn([Series("ours", many)]).iter(f"{SVG}text")]
    assert "ours" in texts and "point3" not in texts


def test_names_of_neighbours_do_not_lie_on_each_other():
    text = scatter_svg("t", "x", "y", [Series("ours", [Point(16, 21.0 + 0.01 * i, f"n{i}") for i in range(6)])])
    ys = sorted(float(y) for y in re.findall(r'y="([\d.]+)" font-size="10"', text))
    assert all(b - a >= 10 for a, b in zip(ys, ys[1:]))
