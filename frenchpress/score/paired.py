"""Is one system better than another on the same utterances? Both are held against each other where they stand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from frenchpress.common import UserError, read_lines
from frenchpress.score.counts import resampled
from frenchpress.score.transcripts import read_utt2spk

GOOD = 2
"""Reference tokens in a row that both systems have right, and that end a segment of `matched_pairs`."""

_NOTHING = "***"


@dataclass(frozen=True)
class Aligned:
    """A decode directory as scored: per utterance its reference, hypothesis and operations (C S I D O), aligned."""

    source: str
    rows: dict[str, tuple[list[str], list[str], list[str]]]
    utt2spk: dict[str, str]

    @classmethod
    def load(cls, directory: Path) -> Aligned:
        """Read `per_utt` and `utt2spk`; UserError where they are not there or damaged."""
        path = directory / "per_utt"
        if not path.is_file():
            raise UserError(f"{path}: no such file; it was decoded by an earlier version, decode again (stage 5)")
        lines = [line.split() for line in read_lines(path)]
        rows: dict[str, tuple[list[str], list[str], list[str]]] = {}
        for utt, mine in groupby(lines, key=lambda fields: fields[0] if fields else ""):
            found = {fields[1]: fields[2:] for fields in mine if len(fields) > 1}
            sides = [found.get(name, []) for name in ("ref", "hyp", "op")]
            if set(found) != {"ref", "hyp", "op", "#csid"} or len({len(side) for side in sides}) > 1:
                raise UserError(f"{path}: utterance {utt}: damaged; decode again (stage 5)")
            rows[utt] = (sides[0], sides[1], sides[2])
        utt2spk = read_utt2spk(directory / "utt2spk")
        for utt in rows:
            if utt not in utt2spk:
                raise UserError(f"{directory}/utt2spk: utterance {utt} has no speaker; decode again (stage 5)")
        return cls(str(directory), rows, utt2spk)

    def reference(self, utt: str) -> list[str]:
        """The reference of an utterance."""
        ref, _, ops = self.rows[utt]
        return [token for token, op in zip(ref, ops) if op != "I"]

    def errors(self) -> np.ndarray:
        """Errors per utterance, int64 [utterances]."""
        return np.array([sum(op in "SID" for op in ops) for _, _, ops in self.rows.values()], np.int64)

    def tokens(self) -> np.ndarray:
        """Reference tokens per utterance, int64 [utterances]."""
        return np.array([sum(op != "I" for op in ops) for _, _, ops in self.rows.values()], np.int64)


def check_same(one: Aligned, other: Aligned) -> None:
    """UserError unless both were scored on the same utterances and references."""
    for utt in [*one.rows, *other.rows]:
        if utt not in one.rows or utt not in other.rows or one.reference(utt) != other.reference(utt):
            raise UserError(
                f"{other.source}: scored on other utterances or references than {one.source} (first {utt}); "
                "only results on the same test set can be paired"
            )


@dataclass(frozen=True)
class Paired:
    """By how much the second system's error rate lies above the first's, in points, with its 95 % interval.

    `lower`: the share of samples in which the second has fewer errors (the probability of improvement).
    """

    difference: float
    interval: tuple[float, float]
    lower: float

    def __str__(self) -> str:
        return f"{self.difference:+.2f} [{self.interval[0]:+.2f}, {self.interval[1]:+.2f}]"


def paired_bootstrap(
    one: np.ndarray, other: np.ndarray, tokens: np.ndarray, samples: int = 10_000, seed: int = 1
) -> Paired:
    """Both systems on the same resampled units, Bisani and Ney 2004, section 4.

    `one`, `other`: errors [seeds, units] of a system's seeds; `tokens` [units]. A unit is a speaker or an utterance.
    Where a system has several seeds they are resampled too, each system's by itself: a mean over seeds is then as sure
    as its few seeds allow.
    """
    drawn = resampled(len(tokens), samples, seed)
    below = drawn @ tokens
    rates = [100.0 * _mean_errors(errors, drawn, seed + 1 + n) / below for n, errors in enumerate((one, other))]
    difference = rates[1] - rates[0]
    low, high = np.quantile(difference[below > 0], [0.025, 0.975])
    whole = 100.0 * (other.mean(0) - one.mean(0)).sum() / tokens.sum()
    return Paired(float(whole), (float(low), float(high)), float((difference < 0).mean()))


def _mean_errors(errors: np.ndarray, drawn: np.ndarray, seed: int) -> np.ndarray:
    """Errors [samples] of the units of each sample, means over resampled seeds."""
    by_seed = drawn @ errors.T
    weights = resampled(len(errors), len(drawn), seed) if len(errors) > 1 else np.ones((1, 1))
    return (by_seed * weights).sum(1) / len(errors)


@dataclass(frozen=True)
class Matched:
    """Matched-pairs test: the segments, the mean of errors of the second system less the first's in one, and the
    two-sided probability of a mean as far from 0 where both are equally good."""

    segments: int
    mean: float
    p: float


def matched_pairs(one: Aligned, other: Aligned) -> Matched | None:
    """The matched-pairs sentence-segment word error test (MAPSSWE), with segments parted as NIST's sc_stats does.

    L. Gillick and S. Cox, "Some statistical issues in the comparison of speech recognition algorithms", ICASSP 1989.
    None where there are too few segments, or all differ alike.
    """
    found = [pair for utt in one.rows for pair in segments(*(_slots(side, utt) for side in (one, other)))]
    z = np.array([theirs - ours for ours, theirs in found], float)
    if len(z) < 2 or not z.std(ddof=1):
        return None
    statistic = z.mean() / (z.std(ddof=1) / math.sqrt(len(z)))
    return Matched(len(z), float(z.mean()), math.erfc(abs(statistic) / math.sqrt(2)))


def segments(one: Sequence[int], other: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Errors of both systems in each stretch of an utterance with an error of either.

    `one`, `other`: errors at the gap before each reference token, at the token, ..., at the gap after the last.
    `GOOD` tokens in a row that both have right, with nothing inserted beside them, part two stretches.
    """
    ours = theirs = good = 0
    for place, (a, b) in enumerate(zip(one, other)):
        if a or b:
            good = 0
            ours, theirs = ours + a, theirs + b
        elif place % 2:
            good += 1
            if good == GOOD and (ours or theirs):
                yield ours, theirs
                ours = theirs = 0
    if ours or theirs:
        yield ours, theirs


def _slots(aligned: Aligned, utt: str) -> list[int]:
    """Errors at the gap before each reference token and at the token, and at the end."""
    result = [0]
    for op in aligned.rows[utt][2]:
        if op == "I":
            result[-1] += 1
        else:
            result += [int(op in "SD"), 0]
    return result
