"""Mutated packed files under the address and undefined-behaviour sanitizers: no crash, no read out of bounds."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from packed_models import NATIVE, SOURCES, Banks, random_model

from frenchpress.packed.index import Level
from frenchpress.packed.write import write_model

SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-ffp-contract=off"]


@pytest.fixture(scope="module", params=[[], ["-DFP_NO_VECTORS"]], ids=["vectors", "none"])
def fuzzer(request, tmp_path_factory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no compiler")
    out = tmp_path_factory.mktemp("fuzz") / "fuzz"
    sources = [str(Path(__file__).with_name("fuzz.c")), *SOURCES]
    built = subprocess.run(
        [compiler, *SANITIZED, *request.param, f"-I{NATIVE}", *sources, "-lm", "-o", str(out)],
        capture_output=True,
        text=True,
    )
    if built.returncode != 0 and "asan" in built.stderr:
        pytest.skip("the compiler has no address sanitizer")
    assert built.returncode == 0, built.stderr
    return out


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    where = tmp_path_factory.mktemp("packed")
    sparse = (Level(4, 1, 2), Level(2, 1, 2))
    models = [
        random_model(1, dim=3, context=(1, 1), cells=(5,), outputs=5),
        random_model(2, dim=4, context=(0, 2), cells=(8, 6), outputs=9, levels=sparse, act_bits=(12, 8, 6)),
        random_model(3, dim=2, context=(2, 0), cells=(4,), outputs=2, levels=sparse, shared=False, bits=3),
        random_model(4, dim=2, context=(0, 0), cells=(2,), outputs=1, bits=1, act_bits=(2, 2, 2)),
        random_model(5, dim=2, context=(1, 0), cells=(3,), outputs=3, front=True),
        random_model(6, dim=3, context=(1, 1), cells=(6, 5), outputs=4, levels=0.15, shared=False, hold=(90, 9)),
        random_model(7, dim=9, context=(2, 2), cells=(8,), outputs=7, levels=0.03),
        random_model(8, dim=9, context=(2, 2), cells=(9,), outputs=7, levels=Banks(1, 8, 2), shared=False, bits=6),
        random_model(9, dim=3, context=(1, 1), cells=(7, 5), outputs=4, levels=Banks(3, 4, 5), bits=4),
        random_model(12, dim=3, cells=(5, 4), outputs=4, hold=(40, 3), act_bits=(16, 9, 8)),
        random_model(10, dim=4, cells=(9,), outputs=3, act_bits=(8, 8, 8)),
        random_model(11, dim=9, cells=(6,), outputs=5, act_bits=(8, 7, 8), levels=Banks(1, 8, 1), shared=False, bits=6),
    ]
    for i, model in enumerate(models):
        write_model(where / f"{i}.press", model)
    return [str(where / f"{i}.press") for i in range(len(models))]


def fuzz(fuzzer: Path, count: int, seed: int, files: list[str]) -> tuple[int, int]:
    """Files read and files accepted."""
    done = subprocess.run(
        [fuzzer, str(count), str(seed), *files],
        capture_output=True,
        text=True,
        env={"ASAN_OPTIONS": "allocator_may_return_null=1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    total, accepted = re.fullmatch(r"(\d+) files, (\d+) accepted\n", done.stdout).groups()
    return int(total), int(accepted)


def test_some_mutated_files(fuzzer, files):
    total, accepted = fuzz(fuzzer, 2000, 1, files)
    # Many mutations only change a number, and such a file is a valid one.
    assert total == 24_000 and 0.02 * total < accepted < 0.9 * total


@pytest.mark.slow
def test_mutated_files_at_length(fuzzer, files):
    assert fuzz(fuzzer, 6000, 2, files)[0] == 72_000
