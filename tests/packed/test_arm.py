"""The runtime on Arm, cross-compiled and run by qemu: the bits of the reference, with dot products and without."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from packed_models import NATIVE, SOURCES, Banks, random_model

from frenchpress.packed import reference
from frenchpress.packed.index import Level
from frenchpress.packed.runtime import LEVELS
from frenchpress.packed.write import write_model

COMPILER, QEMU = "aarch64-linux-gnu-gcc", "qemu-aarch64"
PLAIN, DOT = LEVELS.index("NEON"), LEVELS.index("NEON with dot products")
CHIPS = {"cortex-a53": PLAIN, "max": DOT}
LEVELS_OF_ARM = {"0": (0, 0), "NEON": (PLAIN, PLAIN), "AVX2": (1, DOT), "best": (DOT, DOT)}
MODELS = {
    "dense": {"act_bits": (16, 13, 9)},
    "dense, bytes": {"act_bits": (8, 8, 6)},
    "blocks": {"levels": (Level(4, 1, 2), Level(2, 1, 2))},
    "weights": {"levels": 0.05},
    "weights, bytes": {"levels": 0.05, "act_bits": (8, 8, 8)},
    "banks": {"levels": Banks(1, 32, 2), "bits": 6, "act_bits": (13, 13, 13)},
    "banks of 64": {"levels": Banks(1, 64, 1)},
    "banks, bytes": {"levels": Banks(1, 32, 2), "bits": 6, "act_bits": (8, 8, 8)},
}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if shutil.which(COMPILER) is None or shutil.which(QEMU) is None:
        pytest.skip(f"{COMPILER} or {QEMU} is not installed")
    out = tmp_path_factory.mktemp("arm") / "run_model"
    command = [COMPILER, "-O2", "-ffp-contract=off", "-static", f"-I{NATIVE}", Path(__file__).with_name("run_model.c")]
    subprocess.run([*command, *SOURCES, "-lm", "-o", out], check=True)
    return out


def run(program, chip, level, path, feats):
    """Level in use, and logits."""
    command = [QEMU, "-cpu", chip, program, str(level), path]
    done = subprocess.run(command, input=feats.tobytes(), capture_output=True, check=True)
    found = np.frombuffer(done.stdout, "<i4")
    return int(found[0]), found[1:]


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", MODELS)
def test_the_bits_of_the_reference(program, tmp_path, name, chip):
    model = random_model(13, cells=(18, 70), dim=45, context=(1, 1), outputs=21, shared=False, **MODELS[name])
    write_model(tmp_path / "m.press", model)
    feats = np.random.default_rng(2).normal(0, 4, (23, 45)).astype(np.float32)
    level, logits = run(program, chip, DOT, tmp_path / "m.press", feats)
    assert level == CHIPS[chip]
    assert np.array_equal(logits, reference.run(model, feats).ravel())


@pytest.mark.parametrize("asked", LEVELS_OF_ARM)
def test_lower_levels_and_those_of_other_processors(program, tmp_path, asked):
    model = random_model(14, cells=(9,), levels=0.1, act_bits=(8, 8, 8))
    write_model(tmp_path / "m.press", model)
    feats = np.random.default_rng(3).normal(0, 4, (5, 5)).astype(np.float32)
    level, logits = run(program, "max", LEVELS_OF_ARM[asked][0], tmp_path / "m.press", feats)
    assert level == LEVELS_OF_ARM[asked][1]
    assert np.array_equal(logits, reference.run(model, feats).ravel())
