"""The lock of the shell scripts: held by all that a run starts, waited for, and refused in the end."""

import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(tmp_path):
    """Takes the lock, and waits no longer than its argument says; then does what it is told."""
    path = tmp_path / "run.sh"
    path.write_text(f'set -e\n. {ROOT}/steps/lock.sh\nfp_lock {tmp_path}/exp "$1"\necho held\neval "$2"\n')
    return path


def hold(script, then):
    """The script with the lock, and its exit waited for."""
    subprocess.run(["bash", script, "0", then], stdout=subprocess.DEVNULL, check=True)


def take(script, seconds):
    return subprocess.run(["bash", script, seconds, ""], capture_output=True, text=True)


def test_a_free_directory_is_taken_without_a_word(script, tmp_path):
    hold(script, "")
    done = take(script, "0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "held\n", "")
    assert (tmp_path / "exp/.run.lock").exists()


def test_a_child_that_dies_a_moment_later_is_waited_for(script):
    begin = time.monotonic()
    hold(script, "sleep 1 &")
    done = take(script, "5")
    assert done.returncode == 0 and done.stdout == "held\n"
    assert "another run is writing here; waiting up to 5 s for it to end" in done.stderr
    assert 0.9 < time.monotonic() - begin < 5


def test_a_child_that_goes_on_writing_is_not_run_beside(script):
    hold(script, "sleep 3 &")
    done = take(script, "1")
    assert done.returncode == 1 and done.stdout == ""
    assert "exp: another run is writing here; wait for it, or use another directory" in done.stderr.splitlines()[-1]
