"""Lines over two logarithmic axes."""

import pytest

from frenchpress.report.lines import Line, lines

LINES = [
    Line("a & b", [(128, 5.0), (512, 40.0), (2048, 800.0)], 0),
    Line("c", [(128, 3.0), (2048, 30.0)], 1, dashed=True),
]


def test_lines_ticks_and_names_are_there(draws):
    axes = draws(lines("title", "cells", "us", LINES))
    first, second = axes.get_lines()
    assert first.get_xydata().tolist() == [[128, 5.0], [512, 40.0], [2048, 800.0]]
    assert (first.get_linestyle(), second.get_linestyle()) == ("-", "--")
    assert first.get_color() != second.get_color()
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["128", "512", "2048"]
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == ["a & b", "c"]


@pytest.mark.parametrize("drawn", [[], [Line("a", [(0, 1.0)], 0)], [Line("a", [(1, 0.0)], 0)]])
def test_refuses_what_has_no_logarithm(drawn):
    with pytest.raises(ValueError, match="above 0"):
        lines("t", "x", "y", drawn)
