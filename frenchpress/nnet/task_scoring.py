"""What the phones and words of a task are scored as.

Phones that say where in a word they stand (Kaldi's `AH_B`, `AH_I`, `AH_E`, `AH_S`) are scored without that. A graph
whose words are no phones cannot be scored in phones, which is said here and not after training.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from frenchpress.common import UserError, read_lines
from frenchpress.kaldi.scp import read_table
from frenchpress.nnet.task_sources import DISAMBIG, TIMIT_MAP, Sources

_POSITION = re.compile(r"(.+)_[BIES]")
_NO_SPEECH = re.compile(r"[<\[{!].*|(?i:sil|sp|spn|nsn)")  # <UNK>, [noise], !SIL and the like


def read_scoring(sources: Sources, phones: list[str]) -> tuple[dict[str, str], list[str]]:
    """What each phone is scored as ("" = not at all), and the scored tokens whose omission is free.

    Without a map every phone is scored as itself but silence, which is not scored. Silence that a map does score
    may be left out without an error. UserError when the graph has words that are neither phones nor in the map.
    """
    silence = [phone for line in read_lines(sources.lang / "phones/silence.txt") for phone in line.split()]
    plain = plain_names(phones, silence)
    table = _score_map(sources.score_map, plain)
    if table is None:
        table = {phone: "" if phone in silence else plain[phone] for phone in phones}
    for phone in phones:
        table.setdefault(plain[phone], table[phone])
    for word in _other_words(sources, table):
        table[word] = ""
    if sources.optional_tokens:
        return table, [line.strip() for line in read_lines(sources.optional_tokens) if line.strip()]
    return table, sorted({table[phone] for phone in silence if table.get(phone)})


def plain_names(phones: Collection[str], silence: Collection[str]) -> dict[str, str]:
    """Each phone without its position in the word, if all phones but silence say it; else itself."""
    if not all(_POSITION.fullmatch(phone) for phone in phones if phone not in silence):
        return {phone: phone for phone in phones}
    return {phone: match[1] if (match := _POSITION.fullmatch(phone)) else phone for phone in phones}


def check_references(path: Path, table: Mapping[str, str], utts: Collection[str]) -> None:
    """UserError when a transcript of `utts` has a token that the score map does not know."""
    text = read_table(path)
    for utt in utts:
        unknown = [token for token in text[utt].split() if token not in table]
        if unknown:
            raise UserError(
                f"{path}: {utt}: {unknown[0]!r} is no phone; references are scored in phones: put the transcripts in "
                "phones there, or give --score-map FILE that says what each token is scored as (alone: not at all)"
            )


def _score_map(path: Path | None, plain: Mapping[str, str]) -> dict[str, str] | None:
    if path is None:
        return None
    if path.name == TIMIT_MAP:
        rows = [line.split() for line in read_lines(path)]
        table = {row[1]: row[2] for row in rows if len(row) == 3}
        # The file lies in every TIMIT directory; it counts only if the phones are its 48.
        if not set(plain.values()) <= set(table):
            return None
    else:
        table = read_table(path)
    missing = [phone for phone, name in plain.items() if phone not in table and name not in table]
    if missing:
        raise UserError(f"{path}: no line for phone {missing[0]}; expected '{missing[0]} <scored as>'")
    return table | {phone: table[name] for phone, name in plain.items() if phone not in table}


def _other_words(sources: Sources, known: Collection[str]) -> list[str]:
    """Words of the graph that are neither phones nor in the map and are never part of a score, such as <UNK>."""
    words = [w for w in read_table(sources.graph / "words.txt") if w not in ("<eps>", "<s>", "</s>")]
    words = [word for word in words if not DISAMBIG.match(word)]
    others = [word for word in words if word not in known]
    strange = [word for word in others if not _NO_SPEECH.fullmatch(word)]
    if strange:
        first = " ".join(strange[:5]) + (" ..." if len(strange) > 5 else "")
        raise UserError(
            f"{sources.graph}/words.txt: {len(strange)} of {len(words)} words are no phones of {sources.lang}: "
            f"{first}; models here are decoded and scored in phones: "
            "give the graph of a phone language model, or --score-map FILE with a line for each (alone: not scored)"
        )
    if others:
        print(f"{sources.graph}/words.txt: no phones of {sources.lang}, so never scored: {' '.join(others)}")
    return others
