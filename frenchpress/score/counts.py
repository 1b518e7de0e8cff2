"""Error counts: Kaldi's one-line form, and how sure one can be of a rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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


def bootstrap_interval(
    table: np.ndarray, level: float = 0.95, samples: int = 10_000, seed: int = 1
) -> tuple[float, float]:
    """Confidence interval of the error rate in percent, by resampling utterances with replacement.

    M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation",
    ICASSP 2004.
    """
    errors, tokens = table[:, 1:].sum(axis=1), table[:, 0]
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(table), np.full(len(table), 1.0 / len(table)), size=samples)
    sampled = drawn @ tokens
    rates = 100.0 * (drawn @ errors)[sampled > 0] / sampled[sampled > 0]
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
