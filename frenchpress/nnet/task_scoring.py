"""What the phones and words of a task are scored as, and whether it is phones or words that are scored.

Both graph and references say which: a graph of mostly words that are no phones, with references of such words, is
scored in words, as Kaldi's local/score.sh does. Where the two disagree, that is said here and not after training.
Phones that say where in a word they stand (Kaldi's `AH_B`, `AH_I`, `AH_E`, `AH_S`) are scored without that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from frenchpress.common import UserError, read_lines
from frenchpress.kaldi.scp import read_table
from frenchpress.nnet.task_sources import DISAMBIG, TIMIT_MAP, Sources
from frenchpress.score.unit import PHONE, WORD, Unit

NOT_SCORED = "not_scored"
"""The file of a task with the words that are taken out of references and results."""

_POSITION = re.compile(r"(.+)_[BIES]")
_NO_SPEECH = re.compile(r"[<\[{!].*|(?i:sil|sp|spn|nsn)")  # <UNK>, [noise], !SIL and the like
# Of words less is sure: WSJ has !EXCLAMATION-POINT and {LEFT-BRACE, which are spoken.
_NO_WORD = re.compile(r"<.*>|\[.*\]|\{.*\}|(?i:!sil)")
_SHOWN = 5


def scored_unit(sources: Sources, phones: list[str]) -> Unit:
    """Whether phones or words are scored; prints which.

    UserError where words of the graph are no phones (nor in a score map), but they are not most of them, or the
    references of dev and test have none.
    """
    plain = plain_names(phones, _silence(sources))
    given = _map_rows(sources.score_map, plain)
    known, words = {*plain, *plain.values(), *(given or {})}, _graph_words(sources)
    strange = [word for word in words if word not in known and not _NO_SPEECH.fullmatch(word)]
    where = f"{sources.graph}/words.txt"
    if not strange:
        print(f"{where}: phones of {sources.lang}: scored in phones (PER)")
        return PHONE
    texts = [sources.text[split] for split in ("dev", "test")]
    said = {token for path in texts for line in read_table(path).values() for token in line.split()}
    what = f"{len(strange)} of {len(words)} words are no phones of {sources.lang}"
    phonetic = all(token in known or _NO_SPEECH.fullmatch(token) for token in said)
    if phonetic or 2 * len(strange) <= len(words):
        also = f", but all references in {texts[0]} and {texts[1]} are" if phonetic else ""
        raise UserError(
            f"{where}: {what}: {_first(strange)}{also}; give a graph and references of phones, or both of words, "
            "or --score-map FILE with a line for each (alone: not scored)"
        )
    if given or sources.optional_tokens:
        raise UserError(
            f"{sources.score_map if given else sources.optional_tokens}: is of phones, and graph and references are of "
            f"words ({where}: {what}: {_first(strange)}); words are scored as they are: leave the file out"
        )
    print(f"{where}: {what}, nor are the references: scored in words (WER)")
    return WORD


@dataclass(frozen=True)
class Words:
    """The words that a graph can give, and those of them that are not scored."""

    source: Path
    there: frozenset[str]
    not_scored: tuple[str, ...]

    @classmethod
    def read(cls, sources: Sources) -> Words:
        """Of a graph. Names in brackets (<UNK>, [noise]), !SIL and those of silence phones are not scored."""
        words, silence = _graph_words(sources), _silence(sources)
        not_scored = tuple(word for word in words if word in silence or _NO_WORD.fullmatch(word))
        if not_scored:
            print(f"{sources.graph}/words.txt: no speech, so never scored: {' '.join(not_scored)}")
        return cls(sources.graph / "words.txt", frozenset(words), not_scored)

    def check(self, path: Path, utts: Collection[str]) -> None:
        """Say how many reference words of `utts` the graph cannot give; UserError when they are most of them."""
        text = read_table(path)
        counts = Counter(word for utt in utts for word in text[utt].split())
        unknown = [word for word in counts if word not in self.there]
        missing, total = sum(counts[word] for word in unknown), counts.total()
        said = f"{path}: {missing} of {total} words ({len(unknown)} different) are not in {self.source}"
        if 2 * missing > total:
            raise UserError(f"{said}: {_first(unknown)}; give the graph of this corpus; capitals count")
        if missing:
            print(f"{said}, so each is an error: {_first(unknown)}")


def read_scoring(sources: Sources, phones: list[str]) -> tuple[dict[str, str], list[str]]:
    """What each phone is scored as ("" = not at all), and the scored tokens whose omission is free.

    Without a map every phone is scored as itself but silence, which is not scored. Silence that a map does score
    may be left out without an error. Other words of the graph are not scored.
    """
    silence = _silence(sources)
    plain = plain_names(phones, silence)
    table = _score_map(sources.score_map, plain)
    if table is None:
        table = {phone: "" if phone in silence else plain[phone] for phone in phones}
    for phone in phones:
        table.setdefault(plain[phone], table[phone])
    if others := [word for word in _graph_words(sources) if word not in table]:
        print(f"{sources.graph}/words.txt: no phones of {sources.lang}, so never scored: {' '.join(others)}")
    table |= dict.fromkeys(others, "")
    if sources.optional_tokens:
        return table, [line.strip() for line in read_lines(sources.optional_tokens) if line.strip()]
    return table, sorted({table[phone] for phone in silence if table.get(phone)})


def plain_names(phones: Collection[str], silence: Collection[str]) -> dict[str, str]:
    """Each phone without its position in the word, if all phones but silence say it; else itself."""
    if not all(_POSITION.fullmatch(phone) for phone in phones if phone not in silence):
        return {phone: phone for phone in phones}
    return {phone: match[1] if (match := _POSITION.fullmatch(phone)) else phone for phone in phones}


def check_references(table: Mapping[str, str], path: Path, utts: Collection[str]) -> None:
    """UserError when a transcript of `utts` has a token that the score map does not know."""
    text = read_table(path)
    for utt in utts:
        unknown = [token for token in text[utt].split() if token not in table]
        if unknown:
            raise UserError(
                f"{path}: {utt}: {unknown[0]!r} is no phone; references are scored in phones: put the transcripts in "
                "phones there, or give --score-map FILE that says what each token is scored as (alone: not at all)"
            )


def _map_rows(path: Path | None, plain: Mapping[str, str]) -> dict[str, str] | None:
    if path is None:
        return None
    if path.name != TIMIT_MAP:
        return read_table(path)
    rows = [line.split() for line in read_lines(path)]
    table = {row[1]: row[2] for row in rows if len(row) == 3}
    # The file lies in every TIMIT directory; it counts only if the phones are its 48.
    return table if set(plain.values()) <= set(table) else None


def _score_map(path: Path | None, plain: Mapping[str, str]) -> dict[str, str] | None:
    table = _map_rows(path, plain)
    if table is None:
        return None
    missing = [phone for phone, name in plain.items() if phone not in table and name not in table]
    if missing:
        raise UserError(f"{path}: no line for phone {missing[0]}; expected '{missing[0]} <scored as>'")
    return table | {phone: table[name] for phone, name in plain.items() if phone not in table}


def _silence(sources: Sources) -> list[str]:
    return [phone for line in read_lines(sources.lang / "phones/silence.txt") for phone in line.split()]


def _graph_words(sources: Sources) -> list[str]:
    """The words of the graph that stand for something."""
    words = [word for word in read_table(sources.graph / "words.txt") if word not in ("<eps>", "<s>", "</s>")]
    return [word for word in words if not DISAMBIG.match(word)]


def _first(words: list[str]) -> str:
    return " ".join(words[:_SHOWN]) + (" ..." if len(words) > _SHOWN else "")
