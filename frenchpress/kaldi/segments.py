"""Parts of recordings: the table `segments` of a data directory (`<utterance> <recording> <start> <end>`, in seconds).

Source of the rules: Kaldi, `src/featbin/extract-segments.cc`. An end of -1 is that of the recording; one that lies at
most half a second beyond it is moved to it. What Kaldi leaves out with a warning is refused here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frenchpress.common import UserError
from frenchpress.kaldi.scp import read_table

MAX_OVERSHOOT = 0.5
"""Seconds that a segment may end after its recording."""


@dataclass(frozen=True)
class Segment:
    """From `start` to `end` of a recording, in seconds; `end` None: to its end."""

    recording: str
    start: float = 0.0
    end: float | None = None

    def __str__(self) -> str:
        return f"{self.recording} {self.start!r} {-1 if self.end is None else repr(self.end)}"

    def of(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Its part of the recording's samples [N]; UserError when the recording ends before."""
        first, last = int(self.start * rate), len(samples) if self.end is None else int(self.end * rate)
        if first >= len(samples) or last > len(samples) + MAX_OVERSHOOT * rate:
            length = len(samples) / rate
            raise UserError(f"segment {self} is not in its recording, which has {length:.2f} s")
        return samples[first:last]

    def overshoot(self, samples: int, rate: int) -> float:
        """Seconds that it ends after its recording of so many samples."""
        return 0.0 if self.end is None else max(0.0, self.end - samples / rate)


def read_segments(path: Path) -> dict[str, Segment]:
    """Utterance -> its part of a recording; UserError naming file and utterance for a line that is none."""
    return {utt: _segment(line, f"{path}: {utt}") for utt, line in read_table(path).items()}


def _segment(line: str, where: str) -> Segment:
    fields = line.split()
    try:
        recording, start, end = fields[0], float(fields[1]), float(fields[2])
    except (IndexError, ValueError):
        recording, start, end = "", 0.0, 0.0
    channel = fields[3:] or ["0"]
    if not recording or channel not in (["0"], ["-1"]):
        raise UserError(f"{where}: {line!r}, expected '<recording> <start> <end>' in seconds, of one channel")
    if not (0 <= start < np.inf and (end == -1 or start < end < np.inf)):
        raise UserError(f"{where}: from {start:g} to {end:g} s, expected a start before the end (-1: to the end)")
    return Segment(recording, start, None if end == -1 else end)
