"""What the errors say: insertions and deletions, speakers, phones, utterances of decode_dev."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import read_yaml
from frenchpress.report.diagnose.findings import Finding
from frenchpress.score.align import paired
from frenchpress.score.counts import Counts, total
from frenchpress.score.scoring import Scored, Scoring
from frenchpress.score.transcripts import read_tokens, read_transcripts
from frenchpress.score.unit import PHONE, UNITS

NOTHING = "-"
"""Stands in a confusion for the side on which nothing was said."""

LOPSIDED, ENOUGH = 2.0, 0.04  # insertions over deletions, or the reverse; and of all phones at least
OFTEN = 20  # times a phone must be there to be called never right
FAR = 3.0  # standard deviations that a speaker lies off the others
HOPELESS = 80.0  # PER of an utterance that may have another's transcript
FRAMES_RIGHT = 10.0  # points of PER above the frame error of phones: decoding, not the network, is at fault


@dataclass(frozen=True)
class Errors:
    """A decoded dev set: what was scored, whose utterances they are, and the statistics of stage 5."""

    scored: Scored
    speakers: Mapping[str, str]
    stats: Mapping[str, Any]

    @classmethod
    def load(cls, experiment: Path, optional: Path, speakers: Mapping[str, str]) -> Errors | None:
        """Of exp/x/decode_dev; None where it has not been decoded."""
        place = experiment / "decode_dev"
        if not (place / "stats.yaml").is_file():
            return None
        free = read_tokens(optional) if optional.is_file() else frozenset()
        refs, hyps, stats = (
            *(read_transcripts(place / name) for name in ("ref", "hyp.mapped")),
            read_yaml(place / "stats.yaml"),
        )
        scoring = Scoring(optional=free, unit=UNITS[stats.get("unit", PHONE.name)])
        return cls(scoring.score(refs, hyps, str(place / "ref"), str(place / "hyp.mapped")), speakers, stats)

    def confusions(self) -> tuple[list[str], NDArray[np.int64]]:
        """Tokens, the last `NOTHING`, and how often the one of the row was recognised as that of the column, [P, P].

        The last row counts insertions, the last column deletions, optional phones left out among them.
        """
        utterances = zip(self.scored.alignments, self.scored.refs, self.scored.hyps)
        return confusion_table(pair for ops, ref, hyp in utterances for pair in paired(ops, ref, hyp))

    def by_speaker(self) -> dict[str, Counts]:
        """Errors of each speaker, the worst first."""
        rows: dict[str, list[int]] = defaultdict(list)
        for row, utt in enumerate(self.scored.utts):
            rows[self.speakers.get(utt, "unknown")].append(row)
        counts = {speaker: total(self.scored.table[r]) for speaker, r in rows.items()}
        return dict(sorted(counts.items(), key=lambda item: -_rate(item[1])))

    def worst_utterances(self) -> list[tuple[str, float, list[tuple[str | None, str | None]]]]:
        """Utterance, PER in percent, aligned (reference, hypothesis); the worst first."""
        order = sorted(range(len(self.scored.utts)), key=lambda k: -_rate(total(self.scored.table[k : k + 1])))
        return [
            (
                self.scored.utts[k],
                _rate(total(self.scored.table[k : k + 1])),
                paired(self.scored.alignments[k], self.scored.refs[k], self.scored.hyps[k]),
            )
            for k in order
        ]


def confusion_table(pairs: Iterable[tuple[str | None, str | None]]) -> tuple[list[str], NDArray[np.int64]]:
    """Phones, the last `NOTHING`, and how often each was said (row) and recognised as which (column), int64 [P, P].

    `pairs`: what was said and what was recognised, None for nothing.
    """
    counts = Counter((said or NOTHING, heard or NOTHING) for said, heard in pairs)
    names = [*sorted({name for pair in counts for name in pair} - {NOTHING}), NOTHING]
    index = {name: k for k, name in enumerate(names)}
    table = np.zeros((len(names), len(names)), np.int64)
    for (said, heard), count in counts.items():
        table[index[said], index[heard]] = count
    return names, table


def error_findings(errors: Errors, lm_weights: tuple[float, ...], frame_error_mono: float | None) -> list[Finding]:
    """Of a decoded set. `lm_weights`: those that were tried; `frame_error_mono`: of phones on dev, from 0 to 1."""
    found = [_balance(errors, lm_weights), _speaker(errors), _utterances(errors)]
    if errors.scored.unit is PHONE:  # a word has many frames, and is seen too seldom to be never right
        found += [_against_frames(errors, frame_error_mono), _phones(errors)]
    return [finding.of(errors.scored.unit) for finding in found if finding is not None]


def _balance(errors: Errors, lm_weights: tuple[float, ...]) -> Finding | None:
    counts = errors.scored.counts
    many, few = max(counts.insertions, counts.deletions), min(counts.insertions, counts.deletions)
    if many < LOPSIDED * max(few, 1) or many < ENOUGH * counts.tokens:
        return None
    more = counts.insertions > counts.deletions
    weight = errors.stats.get("lm_weight")
    edge = (max if more else min)(lm_weights) == weight
    want = "larger" if more else "smaller"
    advice = (
        f"{want} values in decode.lm_weights: {weight} is the {'largest' if more else 'smallest'} that was tried."
        if edge
        else f"the LM weight {weight}, best on dev, is inside its grid, so a {want} one costs more elsewhere. "
        + ("Look at silence and noise (what is inserted, below)." if more else "Look at fast or quiet speech.")
    )
    kinds = ("insertions", "deletions") if more else ("deletions", "insertions")
    return Finding(f"too many {kinds[0]}", f"{many} {kinds[0]}, {few} {kinds[1]}, {counts.tokens} phones.", advice)


def _against_frames(errors: Errors, frame_error: float | None) -> Finding | None:
    per = errors.scored.counts.rate
    if frame_error is None or per < 100 * frame_error + FRAMES_RIGHT:
        return None
    return Finding(
        "frames right, phones wrong",
        f"{100 * frame_error:.1f} % of the frames have the wrong phone, but PER is {per:.1f} %.",
        "see the findings about targets and graph. If there is none: decode.acoustic_scales and decode.lm_weights, "
        "or a score map that does not fit (score_map.txt of the task).",
    )


def _speaker(errors: Errors) -> Finding | None:
    everyone, by_speaker = errors.scored.counts, errors.by_speaker()
    speaker, counts = next(iter(by_speaker.items()))
    if len(by_speaker) == 1 or counts.tokens in (0, everyone.tokens):
        return None
    others = (everyone.errors - counts.errors) / (everyone.tokens - counts.tokens)
    spread = (min(max(others, 0.05), 0.5) / counts.tokens) ** 0.5  # at least that of a binomial
    if counts.rate <= 100 * (others + FAR * spread):
        return None
    return Finding(
        "a speaker far off",
        f"{speaker} has a PER of {counts.rate:.1f} % ({counts.tokens} phones), the others of {100 * others:.1f} %.",
        f"listen to {speaker}; look for clipping, noise, another microphone or accent, or a wrong speaker in utt2spk, "
        "which spoils mean and fMLLR.",
    )


def _phones(errors: Errors) -> Finding | None:
    names, table = errors.confusions()
    never = []
    for k, name in enumerate(names[:-1]):
        if table[k].sum() >= OFTEN and table[k, k] == 0 and table[k, -1] < table[k].sum():
            never.append(f"{name} ({table[k].sum()} times, mostly taken for {names[int(table[k].argmax())]})")
    if not never:
        return None
    return Finding(
        "phones never right",
        f"{', '.join(never)}.",
        "look whether lexicon and score map have these phones as the corpus does; merge phones too rare to be learnt.",
    )


def _utterances(errors: Errors) -> Finding | None:
    worst = [utt for utt, rate, _ in errors.worst_utterances() if rate >= HOPELESS]
    if not worst or errors.scored.counts.rate > HOPELESS / 2:
        return None
    return Finding(
        "utterances beyond hope",
        f"{len(worst)} of {len(errors.scored.utts)} have a PER of {HOPELESS:.0f} % or more, {worst[0]} among them.",
        "hold their transcripts (below) against the audio: they may be another utterance's, or cut off.",
    )


def _rate(counts: Counts) -> float:
    return counts.rate if counts.tokens else 0.0
