"""The records that lie beside the studies: a run that several of them have is the same in each."""

from pathlib import Path

import pytest

from frenchpress.report.study import load_study
from frenchpress.report.study_rows import read_runs
from frenchpress.report.table import epochs_cell

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def test_a_run_of_several_studies_has_one_size_and_one_result():
    first = {}
    for path in sorted(RECIPES.glob("*/runs/*.yaml")):
        text = path.read_text("utf-8")
        head, _, came_to = text.partition("\n  sizes:")
        model = [line for line in head.splitlines() if line.startswith(("lineage: ", "model: "))]
        assert len(model) == 2 and came_to, path
        other, same = first.setdefault(tuple(model), (path, came_to))
        if same != came_to:
            pytest.fail(f"{path} and {other} are the same run and do not say the same of it")
    assert first


def test_records_from_before_lineage_and_silence_were_noted(tmp_path):
    runs = read_runs(load_study(RECIPES / "prune_pattern_retrain"), tmp_path)
    dense, retrained = (runs[name][0].system for name in ("dense", "retrain-4of64"))
    assert (epochs_cell(dense), epochs_cell(retrained)) == ("3", "3 of 6")
    assert (dense.starts_from, retrained.starts_from) == ("", "dense-seed2234")
    assert dense.test.speakers is None and dense.test.without_silence is None
