"""Timing that is fair on a shared machine: the subjects take turns, so that a load from elsewhere hits them alike."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch


@dataclass
class Subject:
    """One thing to time: `run` does the work once, on `frames` frames. Seconds per run gather in `times`."""

    name: str
    run: Callable[[], None]
    frames: int
    times: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Median seconds per run."""
        return statistics.median(self.times)

    @property
    def frames_per_second(self) -> float:
        """Frames over the median time."""
        return self.frames / self.seconds

    @property
    def microseconds_per_frame(self) -> float:
        """The median time over frames."""
        return 1e6 * self.seconds / self.frames

    def ratio(self, other: Subject) -> float:
        """Speed of this over that of `other`: median over the rounds of their quotient, each within one round."""
        mine, theirs = self.times, other.times
        quotients = [b / other.frames / (a / self.frames) for a, b in zip(mine, theirs)]
        return 1 / statistics.median(1 / q for q in quotients)


def interleave(
    subjects: Sequence[Subject], repeats: int, warm_up: int = 1, clock: Callable[[], float] = time.perf_counter
) -> None:
    """Time every subject `repeats` times by `clock`, one after the other in each round, after `warm_up` rounds."""
    for round_ in range(warm_up + repeats):
        for subject in subjects:
            start = clock()
            subject.run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if round_ >= warm_up:
                subject.times.append(clock() - start)


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    models = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load before": load,
    }
