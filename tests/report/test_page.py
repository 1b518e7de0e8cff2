"""What the page is written from: data, escaping, what is missing or damaged; a browser is in test_page_browser.py."""

import json
import math
import re
from collections import Counter

import numpy as np
import pytest
from made_page import CFG, made_experiment

from frenchpress.common import UserError
from frenchpress.config import config_differences, config_to_dict, load_config
from frenchpress.report.collect import Measured, System, read_experiment
from frenchpress.report.page import Entry, experiment_entry, said_of, write, write_page
from frenchpress.report.page.entry import DEFAULTS, base_of, compared
from frenchpress.score.paired import Aligned

MEASURED = Measured(20.0, (19.0, 21.0), 10, 100)


@pytest.fixture(autouse=True)
def no_plotly(monkeypatch):
    monkeypatch.setattr(write, "copy_plotly", lambda out: False)


@pytest.fixture
def place(tmp_path):
    return made_experiment(tmp_path / "exp", "w8", np.random.default_rng(1), phones=5, utts=4)


def data_of(index):
    found = re.search(r'<script id="data"[^>]*>(.*?)</script>', index.read_text("utf-8"), re.S)
    return json.loads(found[1])


def entry_of(place, **more):
    return experiment_entry(place, read_experiment(place), **more)


def test_all_that_is_in_a_directory_is_in_the_data(place):
    index = write_page(
        place.parent / "report", "Results", [entry_of(place, group="g", figures={"cycles": 7, "mine": 3})]
    )
    data = data_of(index)
    (found,) = data["experiments"]
    system = read_experiment(place)
    assert found["values"]["per_test"] == system.test.per and found["intervals"]["per_dev"] == list(system.dev.interval)
    assert (found["values"]["stored_bytes"], found["values"]["cycles"]) == (system.sizes["stored_bytes"], 7)
    titles = {column["key"]: column["title"] for column in data["columns"]}
    assert titles["cycles"] == "cycles per frame" and titles["mine"] == "mine" and "energy_uj" not in titles
    history = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
    assert found["curves"]["dev_loss"] == [entry["dev_loss"] for entry in history]
    assert [matrix["name"] for matrix in found["matrices"]][-1] == "other" and len(found["matrices"]) == 7
    assert found["link"] == "../w8" and "size.yaml" in found["files"]
    assert "steps/decode.sh exp/task" in found["commands"][-1] and found["notes"] == []


def test_confusions_are_counts_of_the_alignment(place):
    found = data_of(write_page(place.parent / "report", "t", [entry_of(place)]))["experiments"][0]["confusions"]
    pairs = Counter()
    for ref, hyp, _ in Aligned.load(place / "decode_dev").rows.values():
        pairs.update((said.replace("***", "-"), heard.replace("***", "-")) for said, heard in zip(ref, hyp))
    names = found["names"]
    table = {(names[r], names[c]): n for r, row in enumerate(found["table"]) for c, n in enumerate(row) if n}
    assert table == pairs and names[-1] == "-"


def test_the_base_is_what_the_cfg_extends(place, tmp_path):
    entry = entry_of(place)
    mine, base = compared(json.loads(entry.system.config)), compared(entry.base[1])
    assert entry.base[0] == "w8a16.cfg"
    differing = {key for key in {*mine, *base} if mine.get(key) != base.get(key)}
    sides = (
        json.loads(entry.system.config),
        {key: x for key, x in entry.base[1].items() if key not in ("seed", "decode")},
    )
    said = {key for key, *_ in config_differences(*sides)}
    assert differing and all(any(key.startswith(one) for one in said) for key in differing)
    assert all(any(key.startswith(one) for key in differing) for one in said)
    assert base_of(tmp_path / "gone.cfg")[0] == DEFAULTS


def test_configurations_are_compared_by_dotted_keys():
    found = compared({"seed": 3, "decode": {"beam": 1}, "a": {"b": {"c": [1, "x"]}, "d": {}}, "e": None, "f": "text"})
    assert found == {"a.b.c": '[1, "x"]', "a.d": "{}", "e": "null", "f": "text"}
    assert compared(config_to_dict(load_config(CFG)))["model.lstm.layers"] == "2"


def test_a_system_alone_is_enough(tmp_path):
    index = write_page(
        tmp_path, "t", [Entry(System("a", MEASURED, MEASURED)), Entry(System("b", None, None, "not run"))]
    )
    first, second = data_of(index)["experiments"]
    assert first["values"]["per_test"] == 20.0 and first["link"] == "" and "curves" not in first
    assert second["values"]["state"] == "not run" and second["values"]["per_test"] is None
    assert data_of(write_page(tmp_path, "t", []))["experiments"] == []


def test_a_damaged_file_is_a_note_and_hides_nothing_else(place):
    (place / "metrics.jsonl").write_text("{")
    (found,) = data_of(write_page(place.parent / "report", "t", [entry_of(place)]))["experiments"]
    (note,) = found["notes"]
    assert note.startswith(f"{place}/metrics.jsonl: not a JSON object") and "curves" not in found
    assert found["matrices"] and found["confusions"]


def test_text_of_experiments_ends_no_script_and_opens_no_tag(tmp_path):
    name = "</script><script>alert(1)</script>&amp;\u2028"
    index = write_page(tmp_path, name, [Entry(System(name, MEASURED, MEASURED), group=name, note=name)], about=[name])
    text = index.read_text("utf-8")
    assert text.count("<script") == 1 + len(write._BESIDE) and "&lt;/script&gt;" in text
    data = data_of(index)
    assert data["experiments"][0]["values"]["name"] == data["title"] == name


def test_what_is_no_number_is_not_known(tmp_path):
    entry = Entry(System("a", MEASURED, MEASURED), figures={"cycles": math.nan, "energy_uj": math.inf})
    (found,) = data_of(write_page(tmp_path, "t", [entry]))["experiments"]
    assert found["values"]["cycles"] is None and found["values"]["energy_uj"] is None


def test_an_experiments_directory_is_not_written_into(place):
    with pytest.raises(UserError, match=f"^{place}: an experiment's directory"):
        write_page(place, "t", [])
    assert not (place / "index.html").exists()


def test_the_same_experiments_give_the_same_bytes(place):
    first = write_page(place.parent / "report", "t", [entry_of(place)])
    before, when = first.read_bytes(), first.stat().st_mtime_ns
    assert write_page(place.parent / "report", "t", [entry_of(place)]).read_bytes() == before
    assert first.stat().st_mtime_ns == when


def test_plotly_is_beside_the_page_or_it_says_how_to_get_it(tmp_path, monkeypatch):
    index = write_page(tmp_path / "without", "t", [])
    assert "pip install" in said_of(index) and "pip install" in data_of(index)["no_figures"]
    monkeypatch.undo()
    pytest.importorskip("plotly", reason="plotly is not installed: pip install -e '.[plot]'")
    index = write_page(tmp_path / "with", "t", [])
    assert "pip install" not in said_of(index) and data_of(index)["no_figures"] == ""
    assert "plotly.js v" in (tmp_path / "with/plotly.min.js").read_text("utf-8")[:200]
