"""Resident memory of the runtime: little more than the file."""

import subprocess
import sys

import pytest
from packed_models import random_model

from frenchpress.bench.memory import measure
from frenchpress.common import UserError
from frenchpress.packed.index import Level
from frenchpress.packed.runtime import library
from frenchpress.packed.write import write_model

HCGS = Level(32, 1, 4), Level(2, 1, 4)


@pytest.mark.parametrize("levels", [(), HCGS], ids=["dense", "hcgs 16x"])
def test_a_model_takes_little_more_than_its_file(tmp_path, levels):
    if library() is None:
        pytest.skip("the runtime was not built: no compiler")
    model = random_model(dim=40, context=(5, 5), cells=(384, 384), outputs=500, levels=levels)
    size = write_model(tmp_path / "m.press", model)
    found = measure(tmp_path / "m.press")
    assert found.file == size
    # Below half of the file the weights would have been missed.
    assert size / 2 < found.grown < 1.5 * size + 2**20


def test_says_what_is_missing(tmp_path):
    with pytest.raises(UserError, match=r"^.*m\.press: no such file"):
        measure(tmp_path / "m.press")


def test_command_prints_both_figures(tmp_path):
    size = write_model(tmp_path / "m.press", random_model())
    command = [sys.executable, "-m", "frenchpress.bench.memory", "--frames", "3", str(tmp_path / "m.press")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(f"file {size} bytes, resident memory grown by ")
