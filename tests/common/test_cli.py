"""Command-line entries: bad input is one line, and `--help` says how the program is called."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from frenchpress.common import UserError, run_main

ROOT = Path(__file__).resolve().parents[2]
ENTRY = 'if __name__ == "__main__":'


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (UserError("conf/a.cfg: bits is 40, expected 1 to 32"), "error: conf/a.cfg: bits is 40"),
        (OSError(errno.ENOSPC, "No space left", "exp/a/final.pt"), "error: exp/a/final.pt: No space left"),
        (FileExistsError(errno.EEXIST, "File exists", "exp/a/PER"), "error: exp/a/PER: File exists"),
    ],
)
def test_bad_input_is_one_line_and_a_failing_exit(raised, said):
    def main():
        raise raised

    with pytest.raises(SystemExit) as stopped:
        run_main(main)
    assert str(stopped.value.code).startswith(said)
    assert "\n" not in str(stopped.value.code)


@pytest.mark.parametrize("module", ["frenchpress.score.per", "timit.synth"])
def test_help_shows_the_program_as_it_is_called(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith(f"usage: python -m {module} ")


def test_without_a_standard_output(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    run_main(lambda: None)


def test_every_program_is_run_like_that():
    texts = {p: p.read_text() for package in ("frenchpress", "timit") for p in (ROOT / package).rglob("*.py")}
    programs = {path: text for path, text in texts.items() if ENTRY in text}
    assert len(programs) > 30
    for path, text in programs.items():
        assert text.endswith(f"{ENTRY}\n    run_main(main)\n"), path
        assert "prog=" not in text, path


def test_a_reader_that_stops_reading_ends_the_program_in_silence():
    program = (
        "import sys; from frenchpress.common import run_main\n"
        "def main():\n    for k in range(100000): print(k, flush=True)\n"
        "run_main(main)"
    )
    done = subprocess.run(
        ["bash", "-c", f'set -o pipefail; {sys.executable} -c "$1" | head -1', "-", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 141)
