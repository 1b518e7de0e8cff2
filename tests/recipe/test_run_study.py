"""`./run.sh --recipe` as its users call it, on a small made task: failures, going on, being stopped."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from made_cfg import write_cfg
from small_task import add_graph, make_task

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
model: {context: [1, 1], lstm: {cells: 16}}
compress: {default: {weight_bits: 32}}
train: {epochs: 2, batch: 4, threads: 1, device: cpu, sequence_length: {start: 20}, average: 0.9}
decode: {acoustic_scales: [0.5], lm_weights: [2.0]}
"""
W8 = "  w8: {overrides: {compress: {default: {weight_bits: 8}}}}\n"
STUDY = f"""
title: A small study
seeds: [1]
base: small.cfg
baseline: float
experiments:
{W8}  float: {{}}
"""
AFTER_FLOAT = '  w4: {overrides: {compress: {default: {weight_bits: 4}}, train: {init: "float-seed{seed}"}}}\n'

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    root = make_task(tmp_path_factory.mktemp("task") / "task")
    add_graph(root)
    return root


@pytest.fixture
def recipe(tmp_path):
    directory = tmp_path / "recipes/small"
    directory.mkdir(parents=True)
    write_cfg(directory, SMALL, "small.cfg")
    (directory / "study.yaml").write_text(STUDY)
    return directory


def command(recipe, task, *more):
    exp = recipe.parents[1] / "exp"
    return ["./run.sh", "--recipe", str(recipe), "--task", str(task), "--exp", str(exp), "--nj", "1", *more]


def run(recipe, task, *more):
    return subprocess.run(command(recipe, task, *more), cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_one_failure_does_not_stop_the_rest_and_the_same_command_goes_on(recipe, task):
    exp = recipe.parents[1] / "exp/small"
    exp.mkdir(parents=True)
    (exp / "w8-seed1").write_text("no directory")
    done = run(recipe, task)
    assert done.returncode == 1
    assert "1 failed of 2 runs" in done.stderr and "w8-seed1: File exists" in done.stderr
    text = (recipe / "RESULTS.md").read_text()
    assert re.search(r"failed: error: \S*w8-seed1: File exists", text) and "| float " in text
    model = (exp / "float-seed1/final.pt").read_bytes()

    (exp / "w8-seed1").unlink()
    mended = run(recipe, task)
    assert mended.returncode == 0, mended.stderr
    assert "1 of 1: w8-seed1" in mended.stdout and "2 runs, 1 finished before" in mended.stderr
    text = (recipe / "RESULTS.md").read_text()
    assert "Without a result" not in text and "| w8 " in text
    assert (exp / "float-seed1/final.pt").read_bytes() == model
    assert mended.stdout.splitlines()[-1].startswith(f"{exp}/report/index.html: ")
    assert (exp / "report/index.html").is_file()


def test_side_by_side_recorded_and_made_again_it_is_the_same(recipe, task):
    first = STUDY.replace("  float: {}\n", "").replace("experiments:\n", "experiments:\n  float: {}\n" + AFTER_FLOAT)
    (recipe / "study.yaml").write_text(first)
    exp = recipe.parents[1] / "exp/small"
    together = run(recipe, task, "--jobs", "2")
    assert together.returncode == 0, together.stderr
    # What must wait lets others go first.
    places = [together.stdout.index(f"{n} of 3: {name}-seed1") for n, name in ((1, "float"), (2, "w8"), (3, "w4"))]
    assert places == sorted(places) and together.stdout.index("    float-seed1:") < places[2]
    models = {path.parent.name: path.read_bytes() for path in exp.glob("*/final.pt")}
    assert len(models) == 3

    # What is recorded is not made again.
    text = (recipe / "RESULTS.md").read_text()
    shutil.rmtree(exp)
    again = run(recipe, task)
    assert again.returncode == 0, again.stderr
    assert "3 runs, 0 finished before, 3 recorded before" in again.stderr
    assert (recipe / "RESULTS.md").read_text() == text and not list(exp.glob("*-seed*"))

    # A record is no model: for w4 the float one is trained again, w8 is not. One after the other gives the same.
    (recipe / "runs/w4-seed1.yaml").unlink()
    third = run(recipe, task)
    assert third.returncode == 0, third.stderr
    assert "3 runs, 0 finished before, 1 recorded" in third.stderr
    assert sorted(p.name for p in exp.glob("*-seed*")) == ["float-seed1", "w4-seed1"]
    assert all(path.read_bytes() == models[path.parent.name] for path in exp.glob("*/final.pt"))
    assert (recipe / "RESULTS.md").read_text() == text


def test_what_another_study_has_made_is_taken_from_there(recipe, task):
    exp = recipe.parents[1] / "exp"
    other = recipe.parent / "other"
    shutil.copytree(recipe, other)
    cut = '  cut: {overrides: {train: {init: "plain-seed{seed}", epochs: 0}}}\n'
    (other / "study.yaml").write_text(STUDY.replace("float", "plain").replace(W8, cut))
    assert run(recipe, task, "--only", "float").returncode == 0
    (exp / "small/float-seed1/posteriors").mkdir()
    second = run(other, task)
    assert second.returncode == 0, second.stderr
    assert f"{exp}/other/plain-seed1: the same run as {exp}/small/float-seed1, taken from there" in second.stderr
    assert "2 runs, 1 finished before" in second.stderr
    models = [(exp / name / "final.pt").read_bytes() for name in ("small/float-seed1", "other/plain-seed1")]
    assert models[0] == models[1] and not (exp / "other/plain-seed1/posteriors").exists()
    # Without the models, its record serves as well.
    shutil.rmtree(exp)
    shutil.rmtree(other / "runs")
    third = run(other, task, "--only", "plain")
    assert third.returncode == 0 and "1 runs, 0 finished before, 1 recorded" in third.stderr, third.stderr
    assert "| plain " in (other / "RESULTS.md").read_text()


def test_stopped_by_a_signal_it_goes_on(recipe, task):
    exp = recipe.parents[1] / "exp/small"
    more = ("--only", "float", "--epochs", "3000")
    with subprocess.Popen(
        command(recipe, task, *more), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as first:
        deadline = time.monotonic() + 120
        while not (exp / "float-seed1/metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        second = run(recipe, task, *more)
        assert second.returncode == 1 and "another run is writing here" in second.stderr
        os.kill(first.pid, signal.SIGTERM)
        assert first.wait(timeout=30) == 130
        assert "the same command goes on from here" in first.stderr.read()
    assert not (exp / "float-seed1/final.pt").exists()
    # What was running is gone, and with it its lock.
    third = run(recipe, task, "--only", "w8", "--set", "train.epochs=1 train.batch=8")
    assert third.returncode == 0, third.stderr
    text = (recipe / "RESULTS.md").read_text()
    assert "- train.epochs = 1 (the study says 2)" in text and "- train.batch = 8 (the study says 4)" in text
    assert "training not finished: float, seed 1" in text


def test_bad_input_is_one_line_before_anything_starts(recipe, task):
    for more, said in (
        (["--only", "w9"], "no experiment w9; did you mean w8?"),
        (["--set", "compress.default.hcgs={blocks:[64],keep:[1/2]}"], "mask: hcgs: blocks: 64 x 64 is larger"),
    ):
        done = run(recipe, task, *more)
        assert done.returncode == 1
        assert said in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (recipe / "RESULTS.md").exists()
    assert not list((recipe.parents[1] / "exp/small").glob("*-seed*"))
