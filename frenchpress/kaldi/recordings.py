"""The audio of a data directory, recording by recording: each is read once, however many utterances are cut from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from frenchpress.common import UserError
from frenchpress.common.progress import progress
from frenchpress.kaldi.audio import read_audio
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.parallel import ordered_map
from frenchpress.kaldi.resample import change_speed
from frenchpress.kaldi.segments import Segment

Result = TypeVar("Result")
_AT_ONCE = 8


@dataclass(frozen=True)
class Utterance:
    """An utterance that is `part` of a recording, or all of it, at a `speed`; `where` names its line for messages."""

    id: str
    where: str
    part: Segment | None = None
    speed: Fraction = Fraction(1)

    def of(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Its samples, from those of the recording [N]."""
        part = samples if self.part is None else self.part.of(samples, rate)
        return part if self.speed == 1 else change_speed(part, self.speed)


@dataclass(frozen=True)
class Recording:
    """An entry of wav.scp in the directory `near`, and the utterances in it."""

    entry: str
    near: Path
    where: str
    utterances: tuple[Utterance, ...]


def recordings(data: DataDir) -> list[Recording]:
    """All recordings that utterances are in, in the order of wav.scp."""

    def speed(utt: str) -> Fraction:
        return data.speeds.get(utt, Fraction(1))

    if not data.segments:
        parts = {utt: [Utterance(utt, data.where("wav.scp", utt), None, speed(utt))] for utt in data.wav}
    else:
        parts = {}
        for utt, segment in data.segments.items():
            utterance = Utterance(utt, data.where("segments", utt), segment, speed(utt))
            parts.setdefault(segment.recording, []).append(utterance)
    return [
        Recording(entry, data.path, data.where("wav.scp", name), tuple(parts[name]))
        for name, entry in data.wav.items()
        if name in parts
    ]


def over_utterances(
    function: Callable[[Utterance, np.ndarray, int], Result],
    data: DataDir,
    rate: int,
    nj: int,
    allow_pipes: bool | None = None,
) -> Iterator[tuple[str, Result | UserError]]:
    """(utterance, what `function` makes of it, its samples [N], and the recording's length in samples).

    In the order of recordings. UserErrors, of reading and of the function, are handed back in place of results.
    """
    work = partial(_results, function, rate, allow_pipes)
    jobs = recordings(data)
    results = ordered_map(work, jobs, nj, 1 if data.segments else _AT_ONCE)
    for found in progress(results, f"audio of {data.path}", len(jobs)):
        yield from found


def _results(
    function: Callable[[Utterance, np.ndarray, int], Result], rate: int, allow_pipes: bool | None, job: Recording
) -> list[tuple[str, Result | UserError]]:
    try:
        samples = read_audio(job.entry, job.near, rate, job.where, allow_pipes)
    except UserError as error:
        return [(utterance.id, error) for utterance in job.utterances]
    found: list[tuple[str, Result | UserError]] = []
    for utterance in job.utterances:
        try:
            found.append((utterance.id, function(utterance, utterance.of(samples, rate), len(samples))))
        except UserError as error:
            found.append((utterance.id, UserError(f"{utterance.where}: {error}")))
    return found
