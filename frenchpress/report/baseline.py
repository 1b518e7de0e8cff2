"""The system that a table counts from, and by how much the others lie above it on the same speech."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from frenchpress.common import UserError, nearest
from frenchpress.report.collect import System, alike, one_per_seed
from frenchpress.score.counts import units
from frenchpress.score.paired import Aligned, Paired, check_same, paired_bootstrap


def is_float(system: System) -> bool:
    """Whether all of its weights and activations are float, and none is left out or pulled to where it will be."""
    whole = system.sizes.get("density") == 1 and system.sizes.get("compression_ratio", 0) < 1.01
    compress = json.loads(system.config or "{}").get("compress") or {}
    return whole and all(bits == 32 for bits in _said(compress, "act_bits")) and not any(_said(compress, "admm"))


def _said(tree: Any, name: str) -> list[Any]:
    """All values under the key `name`, wherever it stands."""
    if not isinstance(tree, dict):
        return []
    return [found for key, value in tree.items() for found in ([value] if key == name else _said(value, name))]


@dataclass
class Baseline:
    """The runs, one per seed, of the system that others are held against; none where there is no such system."""

    exp: Path
    runs: list[System]
    aligned: dict[str, Aligned | None] = field(default_factory=dict)
    found: dict[tuple[str, ...], Paired | None] = field(default_factory=dict)

    @classmethod
    def choose(cls, exp: Path, experiments: Sequence[System], name: str | None) -> Baseline:
        """The runs of the system, or the one run, called `name`; without one, those of the first float model.

        UserError for a name that no decoded run has.
        """
        decoded = [s for s in experiments if s.dev and s.test]
        if name is None:
            found = next((s for s in decoded if is_float(s)), None)
        else:
            found = next((s for s in decoded if name in (s.name, s.group)), None)
            if found is None:
                names = [*{s.name: None for s in decoded}, *{s.group: None for s in decoded}]
                raise UserError(f"--baseline: no decoded experiment {name} in {exp}{nearest(name, names)}")
            if name == found.name != found.group:
                return cls(exp, [found])
        return cls(exp, [] if found is None else one_per_seed([s for s in decoded if alike(s) == alike(found)]))

    @property
    def name(self) -> str:
        """What the column of differences says; "" without a baseline."""
        if not self.runs:
            return ""
        return self.runs[0].name if len(self.runs) == 1 else self.runs[0].group

    def against(self, runs: Sequence[System]) -> Paired | None:
        """By how much `runs`, one run or a system's seeds, lie above the baseline on test.

        One run is held against the baseline's of its seed, or else its first. None for the baseline itself, and where
        the utterances' errors are not there or are of another test set.
        """
        if not self.runs or any(run in self.runs for run in runs):
            return None
        names = tuple(run.name for run in runs)
        if names not in self.found:  # many samples are drawn for each
            self.found[names] = self._against(runs)
        return self.found[names]

    def _against(self, runs: Sequence[System]) -> Paired | None:
        base = self.runs if len(runs) > 1 else [r for r in self.runs if r.seed == runs[0].seed] or self.runs[:1]
        sides = [[self._aligned(run) for run in side] for side in (base, runs)]
        if any(aligned is None for side in sides for aligned in side):
            return None
        try:
            return pair(*sides)
        except UserError:
            return None

    def _aligned(self, run: System) -> Aligned | None:
        if run.name not in self.aligned:
            try:
                self.aligned[run.name] = Aligned.load(self.exp / run.name / "decode_test")
            except UserError:
                self.aligned[run.name] = None
        return self.aligned[run.name]


def pair(one: Sequence[Aligned], other: Sequence[Aligned]) -> Paired:
    """The seeds of two systems, paired by the speakers or utterances that were scored; UserError if they differ."""
    first = one[0]
    for aligned in [*one, *other]:
        check_same(first, aligned)
    by = units(list(first.rows), first.utt2spk)
    sides = [np.array([by.sums(ordered_errors(a, first)) for a in side]) for side in (one, other)]
    return paired_bootstrap(*sides, by.sums(first.tokens()))


def ordered_errors(aligned: Aligned, first: Aligned) -> np.ndarray:
    """Errors per utterance in the order of `first`."""
    errors = dict(zip(aligned.rows, aligned.errors()))
    return np.array([errors[utt] for utt in first.rows])
