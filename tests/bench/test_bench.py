import argparse
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from frenchpress.bench import movement
from frenchpress.bench.layers import packed
from frenchpress.bench.timing import Subject, interleave, machine
from frenchpress.bench.training_run import torch_alone
from frenchpress.config import LayerPress
from frenchpress.config.press import Delta
from frenchpress.kernels import native
from frenchpress.packed.runtime import library

SMALL = ["--batch", "2", "--steps", "3", "--inputs", "40", "--cells", "64", "--layers", "2", "--repeats", "2"]


def run_cli(*arguments):
    command = [sys.executable, "-m", "frenchpress.bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_prints_every_subject_with_its_ratio():
    done = run_cli("--what", "training", *SMALL)
    assert done.returncode == 0, done.stderr
    names = re.findall(r"^  (\S.*?)\s+\d+ frames/s +\d+\.\d ms +\d+\.\d\dx$", done.stdout, re.M)
    assert names[0] == "torch.nn.LSTM"
    assert {"lstm (float), torch alone", "w8a16_hcgs16x, torch alone", "recurrence, w8a16, torch alone"} <= set(names)
    assert any(n.endswith("compiled") for n in names) == (native.library() is not None)
    assert "cores: " in done.stdout


@pytest.mark.parametrize("option", ["--batch", "--stream-frames"])
def test_refuses_what_is_empty(option):
    done = run_cli(option, "0")
    assert done.returncode == 1
    assert done.stderr == f"error: {option}: 0 must be at least 1\n"


def test_times_both_parts_unless_told():
    done = run_cli(*SMALL, "--frames", "4", "--stream-frames", "3")
    assert done.returncode == 0, done.stderr
    heads = [line.split(",")[0] for line in done.stdout.splitlines() if line.startswith(("training", "inference"))]
    assert heads[0] == "training" and set(heads) == {"training", "inference"}


def test_movement_is_timed_beside_what_sends_all():
    if library() is None:
        pytest.skip("the packed runtime was not built: no compiler")
    done = run_cli("--what", "movement", *SMALL, "--frames", "20", "--stream-frames", "3")
    assert done.returncode == 0, done.stderr
    moved = [float(share) for share in re.findall(r"^  (?:all sent|thresholds .*?) +(\d+\.\d) %", done.stdout, re.M)]
    assert len(moved) == 12
    for rows in moved[:6], moved[6:]:
        assert rows == sorted(rows, reverse=True) and rows[1] > 90


def test_only_the_first_layer_holds_its_inputs_back():
    """What other layers read are outputs, which are held back already."""
    for press in ({"lstm*": LayerPress(8, 16)}, {"lstm0": LayerPress(6, 13), "lstm*": LayerPress(4, 13)}):
        held = movement._held(press, (0.4, 0.1))
        assert held["lstm0"].delta == Delta(0.4, 0.1) and held["lstm*"].delta == Delta(0.0, 0.1)
        assert {name: replace(layer, delta=None) for name, layer in held.items() if name in press} == press
    assert movement._held(press, (0.0, 0.0)) is press


def test_subjects_take_turns_and_warm_up_is_not_counted():
    order = []
    subjects = [Subject(name, lambda name=name: order.append(name), 10) for name in "ab"]
    interleave(subjects, repeats=2, warm_up=1)
    assert "".join(order) == "ababab"
    assert [len(s.times) for s in subjects] == [2, 2]


def test_ratio_is_taken_within_rounds():
    slow, fast = Subject("slow", lambda: None, 10), Subject("fast", lambda: None, 10)
    slow.times, fast.times = [2.0, 8.0, 4.0], [1.0, 4.0, 2.0]
    assert fast.ratio(slow) == pytest.approx(2)
    assert slow.ratio(fast) == pytest.approx(0.5)
    assert fast.frames_per_second == 5
    assert fast.microseconds_per_frame == pytest.approx(2e5)


def test_machine_is_described():
    assert {"cpu", "cores", "threads", "torch"} <= machine().keys()


def test_torch_alone_is_left_again(monkeypatch):
    monkeypatch.delenv("FRENCHPRESS_NATIVE", raising=False)
    native.library.cache_clear()
    before = native.library() is None
    with torch_alone():
        assert native.library() is None
    assert (native.library() is None) == before
    assert "FRENCHPRESS_NATIVE" not in os.environ


@pytest.mark.parametrize("name", movement.LISTED)
def test_every_threshold_of_the_benchmark_holds_something_back(name):
    """One below a step of the activations would be none, and the matrices that read them have no list."""
    args = argparse.Namespace(inputs=440, cells=64, layers=2, seed=2234)
    for thresholds in movement.THRESHOLDS:
        layers = packed(movement._model(args, name, thresholds)).layers
        assert layers[0].hold_input > 0 and all(layer.hold_output > 0 for layer in layers)
