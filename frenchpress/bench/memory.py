"""Resident memory that a packed model takes in the runtime: `python -m frenchpress.bench.memory MODEL`.

The memory of a process is compared before and after it reads the model and runs frames one by one. Whatever else it
needs (Python, numpy, the compiled runtime) is there before.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frenchpress.common import UserError, run_main
from frenchpress.packed.runtime import Runtime, library

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Memory:
    """Bytes of a packed file, and those by which a process grew that reads and runs it."""

    file: int
    grown: int


def resident_bytes() -> int:
    """Resident memory of this process in bytes; UserError where the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        raise UserError(f"{_STATM}: cannot be read; resident memory is measured on Linux alone") from None


def measure_here(path: Path, frames: int) -> Memory:
    """In this process, which is best a fresh one: read the model, run `frames` frames of zeros one by one."""
    library()
    before = resident_bytes()
    runtime = Runtime.load(path)
    stream, frame = runtime.stream(), np.zeros((1, runtime.model.input.dim), np.float32)
    for _ in range(frames):
        stream.push(frame)
    return Memory(path.stat().st_size, resident_bytes() - before)


def measure(path: Path, frames: int = 1000) -> Memory:
    """The same in a fresh process; UserError when that fails."""
    command = [sys.executable, "-m", "frenchpress.bench.memory", "--frames", str(frames), str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError(done.stderr.strip().removeprefix("error: "))
    return Memory(*map(int, re.findall(r"-?\d+", done.stdout)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000, help="frames to run (default: 1000)")
    parser.add_argument("model", type=Path, help="packed model")
    args = parser.parse_args()
    found = measure_here(args.model, args.frames)
    print(f"file {found.file} bytes, resident memory grown by {found.grown} bytes")


if __name__ == "__main__":
    run_main(main)
