"""RESULTS.md of made results directories: means, losses, ranks, and honesty on what is missing or was run otherwise."""

import json
import re
import shutil
import sys

import pytest
import yaml
from made_cfg import write_cfg

from frenchpress.common import UserError, digest, mark_done
from frenchpress.config import config_to_dict
from frenchpress.report import figure, study_results
from frenchpress.report.page import write
from frenchpress.report.records import read_record
from frenchpress.report.study import load_study
from frenchpress.report.study_figures import figures
from frenchpress.report.study_rows import read_runs, sections, without_result

STUDY = """
title: A study
asks: How much?
seeds: [1, 2]
base: small.cfg
baseline: float
experiments:
  float: {published: {per: 16.0, float_per: 16.0}}
  w8: {overrides: {compress: {default: {weight_bits: 8}}}, published: {per: 16.8, float_per: 16.0}, note: eight bits}
  w4: {overrides: {compress: {default: {weight_bits: 4}}}, published: {per: 20.0, float_per: 16.0}}
  w2: {overrides: {compress: {default: {weight_bits: 2}}}, published: {per: 30.0, float_per: 16.0}}
  again: {overrides: {compress: {default: {weight_bits: 8}}}}
variants:
  hcgs: {of: [w8], group: hcgs, overrides: {compress: {default: {hcgs: {blocks: [8, 2], keep: [1/2, 1/2]}}}}}
left_out: {pattern: no such mask}
"""
SIZES = {"density": 0.5, "weight_ratio": 2.0, "compression_ratio": 7.5, "stored_bytes": 300_000}


@pytest.fixture(autouse=True)
def quick_figures(monkeypatch):
    """Figures are there and empty: drawing them takes longer than all else here."""
    monkeypatch.setattr(figure, "available", lambda: True)
    monkeypatch.setattr(figure, "save", lambda path, draw, size: path.touch())
    monkeypatch.setattr(write, "copy_plotly", lambda out: False)


@pytest.fixture
def recipe(tmp_path):
    directory = tmp_path / "recipe"
    directory.mkdir()
    write_cfg(directory, "compress: {default: {weight_bits: 32}}\n", "small.cfg")
    (directory / "study.yaml").write_text(STUDY)
    return directory


def made(recipe, exp, name, seed, test=None, task="abc", **train):
    """A run as it looks after training, and after decoding if there is a rate."""
    config = config_to_dict(load_study(recipe).configs()[name]) | {"seed": seed}
    config["train"] |= train
    place = exp / f"{name}-seed{seed}"
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(f"# task {task}\n" + yaml.safe_dump(config))
    (place / "final.pt").write_bytes(place.name.encode())
    (place / "size.yaml").write_text(yaml.safe_dump(SIZES))
    (place / "train.yaml").write_text(
        yaml.safe_dump({"seconds": 60, "epochs": config["train"]["epochs"], "device": "cpu"})
    )
    for split, per in (("dev", test and test - 2), ("test", test)):
        if test is not None:
            (place / f"decode_{split}").mkdir()
            stats = {"per": per, "interval": [per - 1, per + 1], "utterances": 96, "phones": 3893}
            (place / f"decode_{split}/stats.yaml").write_text(yaml.safe_dump(stats))
            mark_done(place / f"decode_{split}", {"model": digest(place / "final.pt")})


@pytest.fixture
def exp(recipe, tmp_path):
    exp = tmp_path / "exp"
    for seed, base in ((1, 20.0), (2, 22.0)):
        made(recipe, exp, "float", seed, base)
        made(recipe, exp, "w8", seed, base + 1)
    made(recipe, exp, "w4", 1, 24.0)
    return exp


def results(recipe, exp, monkeypatch, out=None):
    monkeypatch.setattr(sys, "argv", ["study_results", "--out", str(out or recipe), str(recipe), str(exp)])
    study_results.main()
    return ((out or recipe) / "RESULTS.md").read_text()


def row(text, name):
    found = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in found[0].strip("|").split("|")]


def test_means_losses_and_sizes(recipe, exp, monkeypatch):
    text = results(recipe, exp, monkeypatch)
    assert row(text, "w8") == [
        "w8",
        "16.80",
        "+0.80 (+5.0 %)",
        "20.00 ± 1.41 (2)",
        "22.00 ± 1.41 (2)",
        "+1.00 ± 0.00 (+4.8 %)",
        "50.00 %",
        "2.00x",
        "7.50x",
        "0.300 MB",
        "8",
        "1 2",
    ]
    # One seed has an interval in place of a deviation, and is set against the baseline of that seed.
    assert row(text, "w4")[4:6] == ["24.00 [23.0, 25.0]", "+4.00 (+20.0 %)"]
    assert "- test: 96 utterances, 3893 phones" in text
    assert "trained on: cpu (5)" in text


def test_what_shares_a_configuration_shares_its_runs(recipe, exp, monkeypatch):
    text = results(recipe, exp, monkeypatch)
    assert row(text, "again")[1:5] == ["-", "-", "20.00 ± 1.41 (2)", "22.00 ± 1.41 (2)"]
    assert "- again: same configuration, and so the same runs, as w8" in text
    assert "- w8: eight bits" in text


def test_silence_left_out_has_a_column_where_it_was_measured(recipe, exp, monkeypatch):
    assert "test, no silence" not in row(results(recipe, exp, monkeypatch), "point")
    for seed in (1, 2):
        path = exp / f"w8-seed{seed}/decode_test/stats.yaml"
        stats = yaml.safe_load(path.read_text()) | {"speakers": 8, "interval_over": "speakers"}
        silent = {key: stats[key] for key in ("interval", "utterances", "phones")} | {"per": 25.0 + seed}
        path.write_text(yaml.safe_dump(stats | {"without_silence": silent}))
    text = results(recipe, exp, monkeypatch)
    assert [row(text, name)[6] for name in ("point", "float", "w8")] == ["test, no silence", "", "26.50"]
    assert "- test: 96 utterances, 3893 phones, 8 speakers, intervals over speakers" in text
    # As it is recorded, so it is told where the runs are gone.
    shutil.rmtree(exp)
    exp.mkdir()
    assert row(results(recipe, exp, monkeypatch), "w8")[6] == "26.50"


def test_bytes_that_workers_sent_have_a_column_where_there_were_any(recipe, exp, monkeypatch):
    text = results(recipe, exp, monkeypatch)
    assert "sent" not in row(text, "point") and "**sent**" not in text
    for seed in (1, 2):
        with (exp / f"w8-seed{seed}/train.yaml").open("a") as summary:
            summary.write("sent_bytes_per_step: 1234567\n")
    text = results(recipe, exp, monkeypatch)
    assert [row(text, name)[-3] for name in ("point", "float", "w8")] == ["sent", "", "1.235 MB"]
    assert "- **sent**:" in text
    # 1234567 bytes are 9.877 million bits.
    links = text.split("### Time on a link for what a step sends")[1]
    assert row(links, "w8")[1:] == ["1.235 MB", "98.77 ms", "9.88 ms"] and "| float " not in links.split("###")[0]
    shutil.rmtree(exp)
    exp.mkdir()
    assert row(results(recipe, exp, monkeypatch), "w8")[-3] == "1.235 MB"


def test_processor_time_is_that_of_the_runs_that_know_it(recipe, exp, monkeypatch):
    assert "processor" not in row(results(recipe, exp, monkeypatch), "point")
    for seed, seconds in ((1, 90), (2, 150)):
        with (exp / f"w8-seed{seed}/train.yaml").open("a") as summary:
            summary.write(f"processor_seconds: {seconds}\n")
    text = results(recipe, exp, monkeypatch)
    assert [row(text, name)[-3] for name in ("point", "float", "w8")] == ["processor", "", "2.0 min"]
    assert "- **processor**:" in text


def test_rank_correlation_says_of_how_many(recipe, exp, monkeypatch):
    text = results(recipe, exp, monkeypatch)
    assert row(text, "all, variants left out")[1:] == ["PER", "3", "1.000", "1.000"]
    made(recipe, exp, "w2", 1, 23.0)
    text = results(recipe, exp, monkeypatch)
    assert row(text, "all, variants left out")[1:] == ["PER", "4", "0.800", "0.667"]


def test_variants_stand_beside_what_they_vary(recipe, exp, monkeypatch):
    made(recipe, exp, "w8-hcgs", 2, 26.0)
    text = results(recipe, exp, monkeypatch)
    variants = text.split("### Variants")[1]
    assert row(variants, "w8")[1] == "w8-hcgs"
    assert row(variants, "w8")[-1] == "+3.00 (+13.0 %)"


def test_what_is_missing_is_named(recipe, exp, monkeypatch):
    made(recipe, exp, "w2", 1)
    (exp / "log").mkdir()
    (exp / "log/w2-seed2.failed").write_text("error: no room\n")
    without = results(recipe, exp, monkeypatch).split("## Without a result")[1]
    assert "- not run, 1 of 6 points: w8-hcgs\n" in without
    assert "- not decoded yet: w2, seed 1\n" in without
    assert "- failed: error: no room: w2, seed 2\n" in without
    assert "- pattern: no such mask" in without
    # A second seed that was simply not run is no gap: the column of seeds says it.
    assert "w4" not in without.split("##")[0]


def test_a_group_that_was_not_run_has_but_its_name(recipe, exp, monkeypatch):
    text = (recipe / "study.yaml").read_text()
    grid = '  "c{c}": {group: Cells, grid: {c: [8, 16, 24]}, overrides: {model: {lstm: {cells: "{c}"}}}}\n'
    (recipe / "study.yaml").write_text(text.replace("variants:", grid + "variants:"))
    assert "- not run, 5 of 9 points: w2; all 3 of *Cells*; w8-hcgs\n" in results(recipe, exp, monkeypatch)
    made(recipe, exp, "c16", 1, 30.0)
    assert "- not run, 4 of 9 points: w2; c8, c24; w8-hcgs\n" in results(recipe, exp, monkeypatch)


def test_dev_after_each_epoch_is_a_mean_over_seeds(recipe, exp, monkeypatch):
    assert "after each epoch" not in results(recipe, exp, monkeypatch)
    for seed, rates in ((1, (30.0, 24.0)), (2, (32.0, 25.0, 23.5))):
        for epoch, per in enumerate(rates, 1):
            place = exp / f"w8-seed{seed}/epochs/{epoch}/decode_dev"
            place.mkdir(parents=True)
            stats = {"per": per, "interval": [per - 1, per + 1], "utterances": 96, "phones": 3893}
            (place / "stats.yaml").write_text(yaml.safe_dump(stats))
    after = results(recipe, exp, monkeypatch).split("### Dev PER after each epoch")[1]
    assert row(after, "point")[1:] == ["epoch 1", "epoch 2", "epoch 3", "seeds"]
    assert row(after, "w8") == ["w8", "31.00", "24.50", "23.50", "2"]


def test_what_the_index_takes(recipe, exp, monkeypatch):
    assert "index takes" not in results(recipe, exp, monkeypatch)
    matrix = {"value_bits": 4_000_000, "index_bits": 1_000_000, "scale_bits": 500_000, "index_code": "csr"}
    hcgs = {"value_bits": 4_000_000, "index_bits": 600_000, "scale_bits": 300_000}
    sizes = {**SIZES, "macs_kept": 1_000_000, "macs_dense": 2_000_000, "matrices": [matrix, hcgs]}
    (exp / "w4-seed1/size.yaml").write_text(yaml.safe_dump(sizes))
    index = results(recipe, exp, monkeypatch).split("### What the index takes")[1]
    cells = ["w4", "csr, hcgs", "1.000 MB", "0.200 MB", "0.100 MB", "1.60 bits", "7.27x", "7.50x"]
    assert row(index, "w4") == cells


def test_nothing_run_yet(recipe, tmp_path, monkeypatch):
    text = results(recipe, tmp_path / "nowhere", monkeypatch)
    assert "- not run, 6 of 6 points: float; w8; w4; w2; again; w8-hcgs\n" in text
    assert "eight bits" not in text and "| point" not in text and "svg" not in text


def test_short_runs_are_never_mixed_with_full_ones(recipe, exp, monkeypatch):
    made(recipe, exp, "float", 3, 40.0, epochs=1)
    made(recipe, exp, "w8", 3, 44.0, epochs=1)
    text = results(recipe, exp, monkeypatch)
    full, short = text.split("## Results of other settings")
    assert row(full, "w8")[4] == "22.00 ± 1.41 (2)"
    assert "- train.epochs = 1 (the study says 8)" in short
    assert row(short, "w8")[4:6] == ["44.00 [43.0, 45.0]", "+4.00 (+10.0 %)"]
    assert row(short, "w8")[-2:] == ["1", "3"]
    assert (recipe / "per_bytes_2.svg").exists()


@pytest.mark.parametrize("place", ["experiments:\n", "variants:\n"])
def test_what_starts_from_a_short_run_is_in_its_section(recipe, exp, monkeypatch, place):
    text = (recipe / "study.yaml").read_text()
    cut = '  cut: {overrides: {train: {init: "float-seed{seed}", epochs: 0}}}\n'
    first = place == "experiments:\n"
    (recipe / "study.yaml").write_text(text.replace(place, place + cut if first else cut + place))
    made(recipe, exp, "float", 3, 40.0, epochs=1)
    for seed, per in ((1, 30.0), (3, 50.0)):
        made(recipe, exp, "cut", seed, per)
    full, short = results(recipe, exp, monkeypatch).split("## Results of other settings")
    assert row(full, "cut")[4:6] == ["30.00 [29.0, 31.0]", "+10.00 (+50.0 %)"]
    assert "- train.epochs = 1 (the study says 8)" in short
    assert row(short, "cut")[4:6] == ["50.00 [49.0, 51.0]", "+10.00 (+25.0 %)"]


def test_runs_on_another_task_are_told_apart(recipe, exp, monkeypatch):
    made(recipe, exp, "w2", 1, 30.0, task="f" * 64)
    study = load_study(recipe)
    found = sections(study, read_runs(study, exp))
    assert [s.split(";")[0] for settings in found for s in settings] == ["on task abc", "on task ffffffff"]


def test_a_damaged_run_is_a_line_and_no_end(recipe, exp, monkeypatch):
    (exp / "w4-seed1/config.yaml").write_text("a: [")
    study = load_study(recipe)
    assert any("w4-seed1/config.yaml: not YAML" in why for why in without_result(read_runs(study, exp)))


def test_reading_and_figures_are_in_it(recipe, exp, monkeypatch):
    (recipe / "reading.md").write_text("Few bits suffice.\n")
    text = results(recipe, exp, monkeypatch)
    assert "## Reading\n\nFew bits suffice.\n" in text
    for name in ("per_ratio.svg", "per_bytes.svg", "per_published.svg"):
        assert f"![{name}]({name})" in text and (recipe / name).is_file()


def test_figures_are_of_the_rows(draws, recipe, exp):
    study = load_study(recipe)
    (rows, *_) = sections(study, read_runs(study, exp)).values()
    axes = draws(figures("title", rows)["per_bytes.svg"])
    drawn = [xy for container in axes.containers for xy in container.lines[0].get_xydata().tolist()]
    assert [[row.size("stored_bytes"), row.mean()] for row in rows if row.experiment.name == "w4"][0] in drawn
    assert "w4" in {text.get_text() for text in axes.texts}


def page_of(exp):
    text = (exp / "report/index.html").read_text()
    found = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text)[1])["experiments"]
    return {experiment["values"]["name"]: experiment for experiment in found}


def test_the_page_has_every_run_once(recipe, exp, monkeypatch):
    made(recipe, exp, "float", 3, 40.0, epochs=1)
    results(recipe, exp, monkeypatch)
    page = page_of(exp)
    assert set(page) == {"float-seed1", "float-seed2", "float-seed3", "w8-seed1", "w8-seed2", "w4-seed1"}
    # Of `again`, which has the configuration of w8, the runs are those of w8.
    w4, short = page["w4-seed1"], page["float-seed3"]
    assert (w4["values"]["per_test"], w4["values"]["to_baseline"], w4["values"]["published"]) == (24.0, 4.0, 20.0)
    assert w4["base"] == "small.cfg" and w4["config"]["compress.default.weight_bits"] == "4"
    assert w4["commands"] == [f"./run.sh --recipe {recipe} --only w4 --seeds 1"] and w4["notes"] == []
    assert short["notes"] == ["train.epochs = 1 (the study says 8)"]


def test_the_page_of_records_is_the_same_but_for_the_directories(recipe, exp, monkeypatch):
    results(recipe, exp, monkeypatch)
    before = page_of(exp)
    shutil.rmtree(exp)
    results(recipe, exp, monkeypatch)
    after = page_of(exp)
    keys = ("values", "intervals", "config", "base", "commands")
    assert {n: [e[k] for k in keys] for n, e in before.items()} == {n: [e[k] for k in keys] for n, e in after.items()}
    assert before["w8-seed1"]["files"] and "files" not in after["w8-seed1"]


def test_without_matplotlib_the_results_say_how_to_get_figures(recipe, exp, monkeypatch):
    monkeypatch.setattr(figure, "available", lambda: False)
    text = results(recipe, exp, monkeypatch)
    assert f"({figure.HOW_TO_GET})" in text and "svg" not in text


def test_the_reading_of_other_results_is_not_in_it(recipe, exp, monkeypatch, tmp_path):
    (recipe / "reading.md").write_text("Few bits suffice.\n")
    assert "Few bits suffice" not in results(recipe, exp, monkeypatch, tmp_path / "mine")
    (tmp_path / "mine/reading.md").write_text("Not here.\n")
    assert "## Reading\n\nNot here.\n" in results(recipe, exp, monkeypatch, tmp_path / "mine")


def test_records_stand_for_runs_that_are_gone(recipe, exp, monkeypatch):
    text = results(recipe, exp, monkeypatch)
    assert {p.stem for p in (recipe / "runs").iterdir()} == {p.name for p in exp.glob("*-seed*")}
    shutil.rmtree(exp)
    assert results(recipe, exp, monkeypatch) == text
    # A run that is there again is what counts, and is recorded in place of the former.
    made(recipe, exp, "w8", 2, 33.0)
    assert row(results(recipe, exp, monkeypatch), "w8")[4] == "27.00 ± 8.49 (2)"
    shutil.rmtree(exp)
    assert row(results(recipe, exp, monkeypatch), "w8")[4] == "27.00 ± 8.49 (2)"


def test_records_follow_the_study(recipe, exp, monkeypatch):
    """One made before the study changed is not the study as written; one of a seed besides has its place."""
    made(recipe, exp, "w2", 7, 40.0)
    results(recipe, exp, monkeypatch)
    shutil.rmtree(exp)
    study = (recipe / "study.yaml").read_text()
    (recipe / "study.yaml").write_text(study.replace("weight_bits: 4}}}, published", "weight_bits: 5}}}, published"))
    full, other = results(recipe, exp, monkeypatch).split("## Results of other settings")
    assert row(full, "w2")[-1] == "7"
    assert "| w4 " not in full and "weight_bits = 4 (the study says 5)" in other


def test_departures_are_not_recorded(recipe, exp, monkeypatch):
    made(recipe, exp, "float", 3, 40.0, epochs=1)
    made(recipe, exp, "w2", 1)
    results(recipe, exp, monkeypatch)
    assert not {"float-seed3.yaml", "w2-seed1.yaml"} & {p.name for p in (recipe / "runs").iterdir()}


@pytest.mark.parametrize(
    ("old", "new"), [("task:", "tsak:"), ("utterances: 96", "utterances"), ("config:", "config: [")]
)
def test_a_damaged_record_is_a_line_and_no_end(recipe, exp, monkeypatch, old, new):
    results(recipe, exp, monkeypatch)
    shutil.rmtree(exp)
    path = recipe / "runs/w8-seed1.yaml"
    path.write_text(path.read_text().replace(old, new, 1))
    text = results(recipe, exp, monkeypatch)
    assert "w8-seed1.yaml: not" in text.split("## Without a result")[1] and "| w4 " in text


@pytest.mark.parametrize(
    "wrong", [{"config": "x"}, {"system": {"dev": None}}, {"system": {"dev": {"without_silence": 3}}}]
)
def test_a_record_of_something_else_is_one_line(recipe, exp, monkeypatch, wrong):
    results(recipe, exp, monkeypatch)
    path = recipe / "runs/w8-seed1.yaml"
    path.write_text(yaml.safe_dump(_laid_over(yaml.safe_load(path.read_text()), wrong)))
    with pytest.raises(UserError, match="w8-seed1.yaml: not the record of a run"):
        read_record(path)


def _laid_over(values, more):
    """`values` with what `more` says in place of what is there."""
    inner = {key: _laid_over(values[key], said) if isinstance(said, dict) else said for key, said in more.items()}
    return {**values, **inner}


def test_a_run_under_way_leaves_its_record_alone(recipe, exp, monkeypatch):
    results(recipe, exp, monkeypatch)
    path = recipe / "runs/w8-seed1.yaml"
    before = path.read_bytes()
    shutil.rmtree(exp / "w8-seed1")
    made(recipe, exp, "w8", 1, epochs=1)  # trained again otherwise, not decoded yet
    text = results(recipe, exp, monkeypatch)
    assert path.read_bytes() == before and row(text, "w8")[-1] == "1 2"


def test_an_old_record_hides_no_failure(recipe, exp, monkeypatch):
    results(recipe, exp, monkeypatch)
    shutil.rmtree(exp)
    study = (recipe / "study.yaml").read_text()
    (recipe / "study.yaml").write_text(study.replace("weight_bits: 4}}}, published", "weight_bits: 5}}}, published"))
    (exp / "log").mkdir(parents=True)
    (exp / "log/w4-seed1.failed").write_text("error: no room\n")
    text = results(recipe, exp, monkeypatch)
    assert "- failed: error: no room: w4, seed 1" in text and "| w4 " not in text


def test_what_came_from_a_model_of_other_settings_is_told_apart(recipe, exp, monkeypatch):
    study = (recipe / "study.yaml").read_text()
    cut = '  cut: {overrides: {train: {init: "w4-seed{seed}", epochs: 0}}}\n'
    study = study.replace("variants:", cut + "variants:")
    (recipe / "study.yaml").write_text(study)
    made(recipe, exp, "cut", 1, 30.0)
    config = exp / "cut-seed1/config.yaml"
    results(recipe, exp, monkeypatch)
    assert not (recipe / "runs/cut-seed1.yaml").exists()  # made from a model that is not there
    header = f"# task abc\n# train.init {digest(exp / 'w4-seed1/final.pt')}\n"
    config.write_text(config.read_text().replace("# task abc\n", header))
    results(recipe, exp, monkeypatch)
    shutil.rmtree(exp)
    assert row(results(recipe, exp, monkeypatch), "cut")[4].startswith("30.00")
    (recipe / "study.yaml").write_text(study.replace("weight_bits: 4}}}, published", "weight_bits: 5}}}, published"))
    full, other = results(recipe, exp, monkeypatch).split("## Results of other settings", 1)
    assert "| cut " not in full and "made from a model of other settings" in other
