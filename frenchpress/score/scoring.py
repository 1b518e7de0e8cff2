"""Scoring as one object: the map to scored phones, the optional tokens, and the way of counting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from frenchpress.common import UserError
from frenchpress.score.align import COMPUTE_WER, SCLITE, Costs, align
from frenchpress.score.counts import Counts, Units, bootstrap_interval, count_table, total
from frenchpress.score.transcripts import (
    Transcripts,
    check_same_utterances,
    mapped,
    read_score_map,
    read_tokens,
)
from frenchpress.score.unit import PHONE, Unit


@dataclass(frozen=True)
class Scored:
    """A scored set: utterances in sorted order, what was compared, and how it aligned."""

    utts: list[str]
    refs: list[list[str]]
    hyps: list[list[str]]
    alignments: list[np.ndarray]
    table: np.ndarray = field(repr=False)
    unit: Unit = PHONE

    @property
    def counts(self) -> Counts:
        """Errors over the whole set."""
        return total(self.table)

    def interval(self, by: Units) -> tuple[float, float]:
        """95 % confidence interval of the error rate, in percent, by resampling speakers or utterances."""
        return bootstrap_interval(by.sums(self.table))


@dataclass(frozen=True)
class Scoring:
    """How transcripts are compared.

    Kaldi scores plain references with compute-wer, and references with optional tokens (TIMIT, where every
    silence is optional) with sclite; `costs` None does the same. `left_out`: scored tokens that are taken out of both
    sides. `unit`: what tokens are.
    """

    score_map: Mapping[str, str | None] | None = None
    optional: frozenset[str] = frozenset()
    costs: Costs | None = None
    left_out: frozenset[str] = frozenset()
    unit: Unit = PHONE

    @classmethod
    def load(cls, score_map: Path | None, optional: Path | None, costs: Costs | None = None) -> Scoring:
        """Read both files; None, or an optional-tokens file that is not there, stands for none."""
        tokens = read_tokens(optional) if optional is not None else frozenset()
        table = read_score_map(score_map) if score_map is not None else None
        if table is not None and (unknown := tokens - set(table.values())):
            raise UserError(f"{optional}: {min(unknown)} is no scored phone; {score_map} maps nothing to it")
        return cls(table, tokens, costs)

    @property
    def used_costs(self) -> Costs:
        """The way of counting in force."""
        return self.costs or (SCLITE if self.optional else COMPUTE_WER)

    def without_silence(self) -> Scoring | None:
        """The same with silence taken out of both sides, as some published figures have it; counted as this counts.

        Silence is what may be omitted. Where nothing may, it is not scored anyhow if some phone is not; else it is not
        known which phone it is: None.
        """
        if not self.optional:
            return self if self.score_map and None in self.score_map.values() else None
        return replace(self, optional=frozenset(), costs=self.used_costs, left_out=self.left_out | self.optional)

    def score(
        self,
        refs: Transcripts,
        hyps: Transcripts,
        ref_source: str = "reference",
        hyp_source: str = "hypotheses",
    ) -> Scored:
        """Map both sides and align; UserError when the utterances differ or nothing is left to score."""
        check_same_utterances(refs, hyps, ref_source, hyp_source)
        ref_map = mapped(refs, self.score_map, ref_source)
        hyp_map = mapped(hyps, self.score_map, hyp_source)
        utts = sorted(refs)
        ref_list, hyp_list = ([self._kept(side[u]) for u in utts] for side in (ref_map, hyp_map))
        alignments = align(ref_list, hyp_list, self.optional, self.used_costs)
        table = count_table(alignments)
        if not table[:, 0].any():
            raise UserError(f"{ref_source}: not one scored {self.unit.name} in {len(utts)} utterances")
        return Scored(utts, ref_list, hyp_list, alignments, table, self.unit)

    def _kept(self, tokens: list[str]) -> list[str]:
        return [token for token in tokens if token not in self.left_out]
