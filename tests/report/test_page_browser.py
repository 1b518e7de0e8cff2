"""The page in a real browser: it loads without an error, sorts, filters, draws every figure, and names stay text."""

import json
import shutil

import numpy as np
import pytest
from made_page import chromium, made_experiment

from frenchpress.report.collect import collect
from frenchpress.report.page import experiment_entry, write_page

FIGURES = ("trade", "curves", "bytes", "matrices", "matrix-bytes", "confusions")
HOSTILE = (
    "<script>document.title='owned'<",
    "<img src=x onerror=\"document.title='owned'\">",
    "a & 'b' \"c\" %{x} $d$",
)


RESET = """
view.filters = {}; view.words = byId("find").value = ""; view.sort = null; view.down = false;
view.keys = page.columns.filter((column) => column.shown).map((column) => column.key);
startFigures(); startTable(); refresh(); choose(page.experiments.slice(0, MOST_CHOSEN));
byId("only-different").checked = true; show(page.experiments[0]);
"""


@pytest.fixture(scope="module")
def browser():
    driver = chromium()
    if driver is None:
        pytest.skip(
            "needs Chromium, chromedriver (apt install chromium chromium-driver) and pip install -e '.[browser]'"
        )
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def exp(tmp_path_factory):
    pytest.importorskip("plotly", reason="plotly is not installed: pip install -e '.[plot]'")
    exp, generator = tmp_path_factory.mktemp("exp"), np.random.default_rng(3)
    for n in range(12):
        made_experiment(exp, f"w{n}", generator, phones=8, utts=9)
    for name in HOSTILE:
        made_experiment(exp, name, generator, phones=8, utts=9)
    shutil.rmtree(exp / "w11/decode_test")
    return exp


@pytest.fixture(scope="module")
def index(exp):
    return write(exp)


def write(exp):
    _, experiments = collect(exp)
    entries = [experiment_entry(exp / s.name, s, "first" if s.name < "w5" else "<b>second") for s in experiments]
    return write_page(exp / "report", "Results of <b>exp</b>", entries)


@pytest.fixture(scope="module")
def opened(browser, index):
    """The page, opened once; what loading it asked for, and what it left on the console."""
    browser.get(index.as_uri())
    log = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [entry["params"]["request"]["url"] for entry in log if entry["method"] == "Network.requestWillBeSent"]
    return Page(browser), asked


@pytest.fixture
def page(opened):
    """The page as it was when it was opened; a test that leaves an error on the console fails."""
    found, _ = opened
    found.run(RESET)
    yield found
    assert found.driver.get_log("browser") == []


class Page:
    """What a person does with it, and sees."""

    def __init__(self, driver):
        self.driver = driver

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector)

    def names(self):
        return self.run("return [...document.querySelectorAll('#table tbody tr')].map((e) => e.dataset.name)")

    def column(self, key):
        return self.run("return state.shown.map((e) => e.values[arguments[0]] ?? null)", key)

    def click(self, selector):
        self.run("arguments[0].click()", self.find(selector))

    def filter(self, key, text):
        box = self.find(f"[data-filter={key}]")
        self.run("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", box, text)

    def traces(self, figure):
        return json.loads(self.run("return JSON.stringify(document.getElementById(arguments[0]).data)", figure))

    def points(self):
        """How many are in the figure of costs."""
        return sum(len(trace["x"]) for trace in self.traces("trade") if trace["mode"] == "markers")

    def open(self, name):
        self.run("location.hash = encodeURIComponent(arguments[0]); followAddress()", name)
        assert self.texts("#one-title") == [name]


def test_every_figure_is_drawn(page):
    for name in FIGURES:
        assert page.run("return document.querySelectorAll(`#${arguments[0]} .main-svg`).length", name) > 0, name
        assert not page.run("return document.getElementById(arguments[0]).classList.contains('empty')", name)
    assert page.points() == 14  # of 15, one of which is not decoded
    assert len(page.traces("curves")) == 8
    assert page.texts("#count") == ["15 of 15"]


def test_nothing_comes_from_elsewhere(opened):
    _, asked = opened
    assert len(asked) > 6 and all(url.startswith(("file://", "data:")) for url in asked), asked


def test_sorts_both_ways_with_the_unknown_last(page):
    for key in ("stored_bytes", "per_test", "name"):
        for down in (False, True):
            page.click(f"th[data-key={key}] button")
            values = page.column(key)
            known = [value for value in values if value is not None]
            assert known == sorted(known, reverse=down) and None not in values[: len(known)]
            assert page.run(f"return document.querySelector('th[data-key={key}]').ariaSort").startswith(
                "de" if down else "as"
            )


def test_filters_narrow_the_table_and_the_figure(page):
    rates = [rate for rate in page.column("per_test") if rate is not None]
    page.filter("per_test", "<30")
    assert page.column("per_test") == [rate for rate in rates if rate < 30]
    assert page.points() == len(page.names())
    page.filter("per_test", "30..40")
    assert page.column("per_test") == [rate for rate in rates if 30 <= rate <= 40]
    page.filter("per_test", "")
    sizes = page.column("stored_bytes")
    page.filter("stored_bytes", ">=700k")
    assert page.column("stored_bytes") == [size for size in sizes if size >= 700e3]
    page.filter("stored_bytes", "")
    shares = page.column("density")
    page.filter("density", "<40")
    assert page.column("density") == [share for share in shares if 100 * share < 40]
    page.filter("density", "")
    page.find("#find").send_keys("W1 first")
    assert page.names() == ["w1", "w10", "w11"]
    assert page.texts("#count") == ["3 of 15"]


def test_columns_are_chosen(page):
    assert "parameters" not in page.texts("th button")
    page.click("#columns input[value=parameters]")
    page.click("#columns input[value=density]")
    assert "parameters" in page.texts("th button") and "density" not in page.texts("th button")


def better(one, other, high):
    """Whether a point is at least as good in both, and not the same."""
    x = one[0] >= other[0] if high else one[0] <= other[0]
    return x and one[1] <= other[1] and one != other


@pytest.mark.parametrize(("axis", "high"), [("stored_bytes", False), ("compression_ratio", True), ("macs_kept", False)])
def test_the_front_is_what_nothing_is_better_than(page, axis, high):
    page.run("byId('trade-x').value = arguments[0]; drawTrade()", axis)
    points = [p for p in zip(page.column(axis), page.column("per_test")) if p[1] is not None]
    best = sorted(p for p in points if not any(better(other, p, high) for other in points))
    (front,) = [trace for trace in page.traces("trade") if trace["name"] == "Pareto front"]
    assert list(zip(front["x"], front["y"])) == best


def test_a_click_shows_all_about_one(page, exp):
    page.run("byId('trade').emit('plotly_click', { points: [{ customdata: 'w3' }] })")
    assert page.run("return location.hash") == "#w3"
    page.open("w3")
    assert "./run.sh --stage 4" not in page.texts("#one-commands")[0]  # its .cfg has another name
    assert "steps/decode.sh exp/task" in page.texts("#one-commands")[0]
    assert "train.log" not in page.texts("#one-files a") and "config.yaml" in page.texts("#one-files a")
    (heat,) = page.traces("confusions")
    assert [sum(row) for row in heat["z"]] == pytest.approx([100.0] * len(heat["y"])) and heat["y"][-1] == "-"
    density, asked, bits = page.traces("matrices")
    assert density["x"][:2] == ["lstm0 input", "lstm0 recurrent"] and len(bits["y"]) == 6
    assert page.texts("tr.current a") == ["w3"]


def test_the_configuration_beside_its_base_and_another(page):
    page.open("w3")
    marked = page.texts("#config tr.differs td:nth-child(2)")
    assert "train.epochs" in marked and any("hcgs" in key for key in marked)
    assert page.texts("#config tbody tr") == page.texts("#config tr.differs")
    page.click("#only-different")
    assert len(page.texts("#config tbody tr")) > len(marked) + 20
    page.run("byId('beside').value = 'of:w2'; drawConfig()")
    mine, theirs = (page.run("return byName.get(arguments[0]).config['train.epochs']", n) for n in ("w3", "w2"))
    assert page.texts("#config tr.differs td:nth-child(2)") == (["train.epochs"] if mine != theirs else [])


def test_chosen_experiments_are_in_the_curves(page):
    page.click("#choose-none")
    assert "Choose experiments" in page.texts("#curves")[0]
    page.click("tr[data-name=w4] input")
    assert [trace["name"] for trace in page.traces("curves")] == ["w4"]
    page.click("#choose-all")
    assert len(page.traces("bytes")[0]["y"]) == 15


def test_names_stay_text(page):
    assert page.driver.title == "Results of <b>exp</b>" and page.texts("h1") == ["Results of <b>exp</b>"]
    for name in HOSTILE:
        assert name in page.names() and name in page.texts("#table a")
        page.open(name)
    page.click("#choose-all")
    assert page.driver.title == "Results of <b>exp</b>"
    assert page.run("return document.querySelectorAll('main img, main script, #trade b, h1 b').length") == 0
    assert any("<img" in text for text in page.texts("#curves .legendtext"))


def test_without_plotly_there_are_tables(browser, index, tmp_path):
    shutil.copytree(index.parent, tmp_path / "report")
    (tmp_path / "report/plotly.min.js").unlink()
    browser.get((tmp_path / "report/index.html").as_uri())
    page = Page(browser)
    assert len(page.names()) == 15 and "plotly" in page.texts("#trade")[0]
    page.click("th[data-key=per_test] button")
    assert page.column("per_test")[-1] is None
    (line,) = browser.get_log("browser")
    assert "plotly.min.js" in line["message"]
