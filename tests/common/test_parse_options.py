"""Kaldi-style options of the shell scripts."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = f"""#!/usr/bin/env bash
# What it does.
#
#   --some-size N   a size
set -eu
some_size=3
flag=false
empty=
. {ROOT}/steps/parse_options.sh
echo "$some_size $flag [$empty] $*"
"""


def run(tmp_path, *arguments):
    script = tmp_path / "script.sh"
    script.write_text(SCRIPT)
    return subprocess.run(["bash", script, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ([], "3 false [] "),
        (["--some-size", "5", "dir"], "5 false [] dir"),
        (["--some-size=5", "--flag", "dir"], "5 true [] dir"),
        (["--flag", "false", "--empty", "a b"], "3 false [a b] "),
    ],
)
def test_options_set_declared_variables(tmp_path, arguments, printed):
    assert run(tmp_path, *arguments).stdout == printed + "\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sum-size", "5"], "no option --sum-size"),
        (["--some-size"], "needs a value"),
        (["--PATH", "x"], "no option"),
    ],
)
def test_bad_options_are_refused(tmp_path, arguments, said):
    result = run(tmp_path, *arguments)
    assert result.returncode == 1
    assert said in result.stderr


def test_help_prints_the_leading_comment(tmp_path):
    assert run(tmp_path, "--help").stdout.splitlines()[0] == "What it does."
