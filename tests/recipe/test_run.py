"""`./run.sh` as its users call it: the tiny corpus and model through every stage, undisturbed and killed."""

import importlib.util
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAGES = 2, 3, 4  # GMMs, the task, training: those that leave most half-written; each costs a minute

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="no espeakng-loader"),
]


def command(place: Path, *more: str) -> list[str]:
    """The tiny recipe, writing under `place`."""
    return ["./run.sh", "--synth-size", "tiny", "--conf", "conf/tiny.cfg", "--nj", "2",
            "--data", str(place / "data"), "--exp", str(place / "exp"), *more]  # fmt: skip


def finish(place: Path, *more: str) -> str:
    done = subprocess.run(command(place, *more), cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def start(place: Path) -> subprocess.Popen:
    """The recipe in a process group of its own, so that a kill reaches all it started."""
    return subprocess.Popen(
        command(place),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def kill_during(place: Path, stage: int, delay: float) -> None:
    """Start the recipe and `kill -9` its whole process group `delay` seconds after `stage` is announced."""
    with start(place) as process:
        for line in process.stdout:
            if re.search(rf"stage {stage}:", line):
                break
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)


def results(place: Path) -> dict[str, bytes]:
    """What two runs must agree on, to the byte."""
    files = ["exp/tiny/final.pt", "exp/tiny/PER", *(f"exp/{s}/PER" for s in ("mono", "tri1", "tri2", "tri3"))]
    return {name: (place / name).read_bytes() for name in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    place = tmp_path_factory.mktemp("undisturbed")
    finish(place)
    return place


def test_every_stage_leaves_its_results(undisturbed):
    per = (undisturbed / "exp/tiny/PER").read_text()
    assert re.search(r"%\w?ER [\d.]+ \[ \d+ / \d+, \d+ ins, \d+ del, \d+ sub \]", per)
    table = (undisturbed / "exp/RESULTS.md").read_text()
    assert all(name in table for name in ("mono", "tri1", "tri2", "tri3", "tiny"))


def test_a_second_call_does_nothing_again(undisturbed):
    def written() -> dict[Path, int]:
        files = [*undisturbed.rglob("final.*"), *undisturbed.rglob("*.ark"), *undisturbed.rglob(".done")]
        return {path: path.stat().st_mtime_ns for path in files}

    before = written()
    for name in ("exp/tiny/final.pt", "exp/tri3/final.mdl", "exp/task/.done"):
        assert undisturbed / name in before
    said = finish(undisturbed)
    assert written() == before
    index = undisturbed / "exp/report/index.html"
    assert said.splitlines()[-1].startswith(f"{index}: ") and '"name":"tiny"' in index.read_text()


def test_killed_in_one_stage_after_the_other_ends_the_same(undisturbed, tmp_path):
    generator = random.Random(7)
    for stage in STAGES:
        kill_during(tmp_path, stage, generator.uniform(0.2, 3))
    finish(tmp_path)
    assert results(tmp_path) == results(undisturbed)


def test_a_second_run_into_the_same_place_is_refused(tmp_path):
    first = start(tmp_path)
    try:
        assert "stage 0" in first.stdout.readline()
        second = subprocess.run(command(tmp_path), cwd=ROOT, capture_output=True, text=True)
        assert second.returncode == 1
        assert "another run is writing here" in second.stderr
        # The table writes its own files alone.
        table = subprocess.run(command(tmp_path, "--stage", "6"), cwd=ROOT, capture_output=True, text=True)
        assert table.returncode == 0, table.stderr
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
