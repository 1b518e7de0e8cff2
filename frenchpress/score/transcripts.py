"""Transcripts and the files that say how they are scored: score map and optional tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from frenchpress.common import UserError, read_lines

Transcripts = dict[str, list[str]]


def read_transcripts(path: Path | str) -> Transcripts:
    """Kaldi text: per line an utterance id and its tokens, maybe none; UserError if empty or duplicated."""
    result: Transcripts = {}
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split()
        if not fields:
            raise UserError(f"{path}:{number}: empty line, expected an utterance id and its tokens")
        if fields[0] in result:
            raise UserError(f"{path}:{number}: utterance {fields[0]} is there twice")
        result[fields[0]] = fields[1:]
    if not result:
        raise UserError(f"{path}: no utterances")
    return result


def write_transcripts(path: Path, transcripts: Mapping[str, list[str]]) -> None:
    """Write Kaldi text, sorted by utterance id."""
    path.write_text("".join(" ".join([u, *transcripts[u]]) + "\n" for u in sorted(transcripts)), "utf-8")


def read_utt2spk(path: Path | str) -> dict[str, str]:
    """Lines `utterance speaker`; UserError, with the line, for others."""
    result = {}
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split()
        if len(fields) != 2:
            raise UserError(f"{path}:{number}: expected an utterance and its speaker, found '{line}'")
        result[fields[0]] = fields[1]
    return result


def read_score_map(path: Path | str) -> dict[str, str | None]:
    """Lines `phone scored-as`, or `phone` alone for one that is not scored (None)."""
    result: dict[str, str | None] = {}
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split()
        if not 1 <= len(fields) <= 2:
            raise UserError(f"{path}:{number}: expected a phone and what it is scored as, found '{line}'")
        if fields[0] in result:
            raise UserError(f"{path}:{number}: phone {fields[0]} is there twice")
        result[fields[0]] = fields[1] if len(fields) == 2 else None
    if not any(result.values()):
        raise UserError(f"{path}: no phone is scored")
    return result


def read_tokens(path: Path | str) -> frozenset[str]:
    """One token per line; an empty file is legal."""
    for number, line in enumerate(lines := read_lines(path), 1):
        if len(line.split()) != 1:
            raise UserError(f"{path}:{number}: expected one token, found '{line}'")
    return frozenset(line.strip() for line in lines)


def mapped(
    transcripts: Mapping[str, list[str]], score_map: Mapping[str, str | None] | None, source: str
) -> Transcripts:
    """Transcripts in scored phones; UserError naming `source` for a phone that the map does not know."""
    if score_map is None:
        return {utt: list(tokens) for utt, tokens in transcripts.items()}
    for utt, tokens in transcripts.items():
        unknown = next((t for t in tokens if t not in score_map), None)
        if unknown is not None:
            raise UserError(f"{source}: utterance {utt}: phone {unknown} is not in the score map; add a line for it")
    return {utt: [s for t in tokens if (s := score_map[t])] for utt, tokens in transcripts.items()}


def check_same_utterances(
    refs: Mapping[str, list[str]], hyps: Mapping[str, list[str]], ref_source: str, hyp_source: str
) -> None:
    """UserError unless both have the same utterances: leaving some out would change what the rate is of."""
    if missing := sorted(set(refs) - set(hyps)):
        raise UserError(
            f"{hyp_source}: {len(missing)} of {len(refs)} utterances of {ref_source} are missing, "
            f"first {missing[0]}; "
            "all must be there (one with nothing recognised is a line with its id alone)"
        )
    if unknown := sorted(set(hyps) - set(refs)):
        raise UserError(
            f"{hyp_source}: {len(unknown)} utterances are not in {ref_source}, first {unknown[0]}; "
            "score hypotheses against the references of the same set"
        )
