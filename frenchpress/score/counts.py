"""Error counts: Kaldi's one-line form, and how sure one can be of a rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from frenchpress.common import UserError
from frenchpress.score.align import CORRECT, DELETION, INSERTION, OMISSION, SUBSTITUTION


@dataclass(frozen=True)
class Counts:
    """Errors over `tokens` reference tokens."""

    tokens: int
    insertions: int
    deletions: int
    substitutions: int

    @property
    def errors(self) -> int:
        """Insertions, deletions and substitutions together."""
        return self.insertions + self.deletions + self.substitutions

    @property
    def rate(self) -> float:
        """Errors in percent of the reference tokens."""
        return 100.0 * self.errors / self.tokens

    def line(self) -> str:
        """As Kaldi prints it; it says WER for phones too, and scripts look for that."""
        return (
            f"%WER {self.rate:.2f} [ {self.errors} / {self.tokens}, {self.insertions} ins, "
            f"{self.deletions} del, {self.substitutions} sub ]"
        )


def count_table(alignments: Sequence[np.ndarray]) -> np.ndarray:
    """Per utterance: reference tokens, insertions, deletions, substitutions (int64 [utterances, 4])."""
    table = np.zeros((len(alignments), 4), np.int64)
    for row, ops in zip(table, alignments):
        by_op = np.bincount(ops, minlength=5)
        row[0] = by_op[[CORRECT, SUBSTITUTION, DELETION, OMISSION]].sum()
        row[1:] = by_op[[INSERTION, DELETION, SUBSTITUTION]]
    return table


def total(table: np.ndarray) -> Counts:
    """Sum over the utterances of a count table."""
    return Counts(*(int(n) for n in table.sum(axis=0)))


MIN_SPEAKERS = 5
"""With fewer speakers than this a bootstrap over them says nothing; utterances are resampled in their place."""


@dataclass(frozen=True)
class Units:
    """What a bootstrap resamples, `over` speakers or utterances: the unit [utterances] of each utterance."""

    over: str
    speakers: int | None
    unit: np.ndarray

    def sums(self, table: np.ndarray) -> np.ndarray:
        """Rows of `table` [utterances, ...] added up by unit [units, ...]."""
        result = np.zeros((int(self.unit.max()) + 1, *table.shape[1:]), table.dtype)
        np.add.at(result, self.unit, table)
        return result


def units(utts: Sequence[str], utt2spk: Mapping[str, str] | None) -> Units:
    """Speakers, if there are `MIN_SPEAKERS` or more: what one of them says is alike, so that utterances resampled one
    by one make an interval too narrow. Else utterances. UserError for an utterance that has no speaker.
    """
    if utt2spk is None:
        return Units("utterances", None, np.arange(len(utts)))
    for utt in utts:
        if utt not in utt2spk:
            raise UserError(f"utt2spk: utterance {utt} has no speaker; add a line for it")
    names, unit = np.unique([utt2spk[utt] for utt in utts], return_inverse=True)
    if len(names) < MIN_SPEAKERS:
        return Units("utterances", len(names), np.arange(len(utts)))
    return Units("speakers", len(names), unit)


def resampled(count: int, samples: int, seed: int) -> np.ndarray:
    """How often each of `count` units is in each sample with replacement, int64 [samples, count]."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1.0 / count), size=samples)


def bootstrap_interval(
    table: np.ndarray, level: float = 0.95, samples: int = 10_000, seed: int = 1
) -> tuple[float, float]:
    """Confidence interval of the error rate in percent, by resampling the rows of a count table with replacement.

    A row is an utterance, or the sum over a speaker's. M. Bisani and H. Ney, "Bootstrap estimates for confidence
    intervals in ASR performance evaluation", ICASSP 2004.
    """
    errors, tokens = table[:, 1:].sum(axis=1), table[:, 0]
    drawn = resampled(len(table), samples, seed)
    sampled = drawn @ tokens
    rates = 100.0 * (drawn @ errors)[sampled > 0] / sampled[sampled > 0]
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
