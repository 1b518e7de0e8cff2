"""Pronunciation lexicons: those of Kaldi, and those of the Montreal Forced Aligner.

    hello HH AH L OW                          lexicon.txt
    hello 0.9 HH AH L OW                      lexiconp.txt: probability
    hello 0.9 0.13 1.0 1.02 HH AH L OW        lexiconp_silprob.txt, and MFA (with tabs): three more numbers, of silence

A word may have several lines, one per pronunciation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from frenchpress.common import UserError, read_lines

NAMES = ("lexiconp.txt", "lexicon.txt", "lexiconp_silprob.txt")
PLACES = ("", "dict", "local/dict")
_COUNTS = {"lexiconp.txt": 1, "lexiconp_silprob.txt": 4}
_NUMBER = re.compile(r"\d+(\.\d*)?([eE][-+]?\d+)?|\.\d+")
_EXPECTED = "expected '<word> <phone> <phone> ...', after the word perhaps a probability, or four numbers"


@dataclass(frozen=True)
class Pronunciation:
    """Phones of a word, and how probable they are beside its other pronunciations (1: as given, or not given)."""

    phones: tuple[str, ...]
    probability: float = 1.0


@dataclass(frozen=True)
class Lexicon:
    """Word -> pronunciations, the most probable one first, the order of the file where they are equal.

    `numbers`: how many there are before the phones (0, 1 or 4; the largest, where lines differ).
    """

    path: Path
    words: dict[str, list[Pronunciation]]
    numbers: int

    def phones(self, word: str) -> tuple[str, ...]:
        """The most probable pronunciation."""
        return self.words[word][0].phones


def find_lexicon(corpus: Path) -> Path | None:
    """The lexicon of a corpus, where Kaldi's recipes or people put it."""
    places = (corpus / place / name for place in PLACES for name in NAMES)
    return next((path for path in places if path.is_file()), None)


def read_lexicon(path: Path) -> Lexicon:
    """Read and check a lexicon of any of the kinds above; UserError naming the line that is none."""
    rows = [(number, *_fields(line)) for number, line in enumerate(read_lines(path), 1) if line.strip()]
    fixed = _COUNTS.get(path.name)
    with_numbers = fixed is not None or _has_numbers([values for _, _, values, _ in rows])
    words: dict[str, list[Pronunciation]] = {}
    most = 0
    for number, word, values, tabs in rows:
        count = _count(values, tabs, fixed, f"{path}:{number}: {word}") if with_numbers else 0
        most = max(most, count)
        if len(values) == count:
            raise UserError(f"{path}:{number}: {word} has no phones; {_EXPECTED}")
        probability = float(values[0]) if count else 1.0
        if not 0 < probability <= 1:
            raise UserError(f"{path}:{number}: {word} has probability {values[0]}, expected above 0 and at most 1")
        _add(words.setdefault(word, []), Pronunciation(tuple(values[count:]), probability))
    if not words:
        raise UserError(f"{path}: empty; {_EXPECTED}")
    return Lexicon(path, {w: sorted(found, key=lambda p: -p.probability) for w, found in words.items()}, most)


def _fields(line: str) -> tuple[str, list[str], int]:
    """The word, what stands after it, and how many of that tabs set apart from the phones (-1: no tabs say so)."""
    columns = [column for column in line.strip().split("\t") if column.strip()]
    word, *values = line.split()
    tabs = len(columns) - 2 if len(columns) > 2 and all(len(c.split()) == 1 for c in columns[:-1]) else -1
    return word, values, tabs if tabs in (1, 4) else -1


def _leading(values: list[str]) -> int:
    """How many of the first values are numbers."""
    return next((k for k, value in enumerate(values) if not _NUMBER.fullmatch(value)), len(values))


def _has_numbers(rows: list[list[str]]) -> bool:
    """Whether numbers before the phones are probabilities: one has a decimal point, or every line begins with 1."""
    points = any(not value.isdigit() for values in rows for value in values[: _leading(values)])
    return points or all(values[:1] == ["1"] and len(values) > 1 for values in rows)


def _count(values: list[str], tabs: int, fixed: int | None, where: str) -> int:
    """How many numbers stand before the phones."""
    found = _leading(values)
    count = fixed if fixed is not None else tabs if 0 < tabs <= found else found
    if count > found or count not in (0, 1, 4):
        raise UserError(f"{where}: {found} numbers before the phones; {_EXPECTED}")
    return count


def _add(known: list[Pronunciation], new: Pronunciation) -> None:
    """A pronunciation that is there twice counts once, with the larger probability."""
    for k, old in enumerate(known):
        if old.phones == new.phones:
            known[k] = max(old, new, key=lambda p: p.probability)
            return
    known.append(new)
