"""`./run.sh --explore` as its users call it, on a small made task, with real trainings."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from made_space import RUNGS, SPACE, write_space
from small_task import add_graph, make_task

ROOT = Path(__file__).resolve().parents[2]
FLOAT = """
base: ../small.cfg
compress:
  "lstm*": {weight_bits: 32, act_bits: 32}
  "head_*": {weight_bits: 32, act_bits: 32}
"""


def explore(*options):
    command = ["./run.sh", "--explore", *map(str, options), "--nj", "1"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_one_command_from_float_to_front(tmp_path):
    pytest.importorskip("optuna", reason="optuna is not installed: pip install -e '.[explore]'")
    task = make_task(tmp_path / "task")
    add_graph(task)
    text = SPACE.replace("overrides:\n", "overrides:\n  train: {init: float}\n").replace("trials: 6", "trials: 2")
    recipe = write_space(tmp_path, text.replace("[dev_frame_error,", "[dev_per,") + RUNGS)
    (recipe / "float.cfg").write_text(FLOAT)
    done = explore(recipe, "--task", task, "--exp", tmp_path / "exp", "--results", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    record = yaml.safe_load((tmp_path / "out/trials.yaml").read_text())["stages"]
    assert [len(record[stage]) for stage in ("search", "long", "test")] == [2, 1, 1]
    exp, best = tmp_path / "exp/recipe", record["test"][0]["run"]
    assert (exp / "float/final.pt").is_file() and (exp / best / "PER").is_file()
    # Nothing but the front was decoded on test.
    assert {place.parent.name for place in exp.glob("*/decode_test")} == {best}
    assert len(list(exp.glob("*/decode_dev"))) == 3
    one = record["search"][0]
    size, trained = (yaml.safe_load((exp / one["run"] / f"{name}.yaml").read_text()) for name in ("size", "train"))
    assert one["found"]["stored_bytes"] == size["stored_bytes"]
    assert trained["command"].startswith("python -m frenchpress.nnet.train --config ")
    # It can be trained from its .cfg, from the float model on.
    cfg = tmp_path / f"out/front/{best}.cfg"
    order = [sys.executable, "-m", "frenchpress.nnet.check", "--plan", "--exp", tmp_path / "new", cfg]
    lines = subprocess.run(order, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    below = next(trial["run"] for trial in record["search"] if trial["values"] == record["long"][0]["values"])
    assert [line.split("\t")[2] for line in lines] == ["float", below, best]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["recipes/nowhere"], "--explore: recipes/nowhere/space.yaml: no such file; there are recipes/explore_16x"),
        (["recipes/explore_tiny", "--recipe", "recipes/bits"], "--recipe or --explore, one of them"),
        (["recipes/explore_tiny", "--epochs", "2"], "--explore has chip, seed and epochs in its space.yaml"),
        (["recipes/explore_tiny", "--task", "/nowhere"], "/nowhere/meta.yaml: no such file; stages 0 to 3"),
    ],
)
def test_bad_options(options, said):
    done = explore(*options)
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1
