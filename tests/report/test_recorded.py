"""The records that lie beside the studies: a run that several of them have is the same in each."""

from pathlib import Path

import pytest

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
