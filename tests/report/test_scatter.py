"""Points where their values are, bars as long as their errors, names off one another and inside the frame."""

from itertools import combinations

import pytest

from frenchpress.report import figure
from frenchpress.report.scatter import Point, Series, scatter


def shown(series):
    return scatter("a <title> of $5", "bytes", "PER, %", series)


def names_of(axes):
    return {text.get_text(): text.get_window_extent() for text in axes.texts}


def test_points_and_bars_are_where_their_values_are(draws):
    points = [Point(1e5, 20.0, "low", 1.0), Point(4e5, 30.0, "high", 2.0)]
    axes = draws(shown([Series("ours", points)]))
    line, _, (bars,) = axes.containers[0]
    assert line.get_xydata().tolist() == [[1e5, 20.0], [4e5, 30.0]]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[19.0, 21.0], [28.0, 32.0]]
    assert axes.get_xscale() == "log" and axes.get_title() == "a <title> of $5"
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    assert {"100k", "200k", "400k"} <= set(ticks)


def test_hollow_points_have_no_names_and_a_legend_names_all_series(draws):
    axes = draws(shown([Series("ours", [Point(1, 20.0, "mine")]), Series("theirs", [Point(2, 21.0, "x")], True)]))
    assert set(names_of(axes)) == {"mine"}
    assert axes.containers[1].lines[0].get_markerfacecolor() == "white"
    (legend,) = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ours", "theirs"]
    assert axes.figure.bbox.x1 >= legend.get_window_extent().x1


def test_names_of_neighbours_are_off_each_other_and_inside_the_frame(draws):
    crowd = [Point(16, 21.0 + 0.05 * i, f"neighbour-{i}") for i in range(8)]
    axes = draws(shown([Series("ours", [*crowd, Point(160, 20.0, "a-long-name-at-the-edge")])]))
    boxes = names_of(axes)
    assert len(boxes) == 9
    for one, other in combinations(boxes.values(), 2):
        assert not one.overlaps(other)
    for box in boxes.values():
        assert axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1


def test_none_and_many(draws):
    assert not names_of(draws(shown([])))
    many = [Point(1 + i, 20 + i, f"point{i}") for i in range(50)]
    assert not names_of(draws(shown([Series("ours", many)])))


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_same_figure_gives_the_same_bytes(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    draw = shown([Series("ours", [Point(1, 20.0, "a & <b>")])])
    one, other = (figure.save(tmp_path / f"{n}{suffix}", draw).read_bytes() for n in (1, 2))
    assert one == other


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("apart", [0.0, 1e-15, 1e-5])
def test_points_of_about_one_x_have_room(draws, apart):
    axes = draws(shown([Series("ours", [Point(4e5 * (1 + apart * k), 30.0 + k, f"p{k}") for k in range(3)])]))
    low, high = axes.get_xlim()
    assert low < 3e5 < 5e5 < high
