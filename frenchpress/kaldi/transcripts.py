"""Transcripts of a corpus in phones: as they are given, or words through a lexicon; silence under one name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from frenchpress.common import UserError, did_you_mean, read_lines
from frenchpress.kaldi.lexicon import Lexicon, Pronunciation, find_lexicon, read_lexicon
from frenchpress.kaldi.scp import read_table
from frenchpress.kaldi.silence import SILENCE, SilenceNames, is_noise
from frenchpress.kaldi.validate import report

WORD_MARK = "|"
Tokens = dict[str, list[str]]


@dataclass
class Transcripts:
    """Phones of each utterance by split, and where these came from words, the words and their pronunciations.

    `silence_inside`: the transcripts say where silence is; else it is optional everywhere.
    """

    phones: dict[str, Tokens]
    words: dict[str, Tokens] = field(default_factory=dict)
    pronunciations: dict[str, list[Pronunciation]] = field(default_factory=dict)
    silence_inside: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def chosen(self) -> dict[str, Tokens]:
        """The words, if one of them has several pronunciations to choose from."""
        return self.words if any(len(found) > 1 for found in self.pronunciations.values()) else {}


def transcript_file(place: Path) -> Path:
    """Where the transcripts of a split are: `phones`, or else `text`."""
    return place / ("phones" if (place / "phones").exists() else "text")


def read_transcripts(corpus: Path, splits: Iterable[str], silence: SilenceNames) -> Transcripts:
    """Of all splits. The lexicon is read where words need it, and nowhere else."""
    tables, found = {}, Transcripts({})
    for name in splits:
        path = transcript_file(corpus / name)
        if not path.exists():
            raise UserError(
                f"{path}: no such file; give {path.parent}/phones, or text (words) and {corpus}/lexicon.txt"
            )
        tables[name] = path, {utt: line.split() for utt, line in read_table(path).items()}
        if not tables[name][1]:
            raise UserError(f"{path}: empty, expected a line per utterance")
    lexicon = _lexicon(corpus, [path for path, _ in tables.values() if path.name == "text"])
    for name, (path, table) in tables.items():
        if path.name == "phones":
            found.phones[name] = {utt: [p for p in phones if p != WORD_MARK] for utt, phones in table.items()}
        else:
            found.words[name] = table
    if lexicon is not None:
        _spell(found, lexicon, {name: tables[name][0] for name in found.words}, silence)
    _fold_silence(found, silence)
    _drop_unheard(found)
    return found


def _lexicon(corpus: Path, words: list[Path]) -> Lexicon | None:
    if not words:
        return None
    path = find_lexicon(corpus)
    if path is None:
        raise UserError(f"{words[0]}: words, but no lexicon; give {words[0].parent}/phones, or {corpus}/lexicon.txt")
    return read_lexicon(path)


def _spell(found: Transcripts, lexicon: Lexicon, paths: Mapping[str, Path], silence: SilenceNames) -> None:
    """Words to their most probable pronunciations; all those of the words that occur are kept."""
    used = Counter(word for table in found.words.values() for words in table.values() for word in words)
    _check_known(found, [w for w in used if w not in lexicon.words and w not in silence], used, paths, lexicon)
    given = {word: lexicon.words.get(word, [Pronunciation((SILENCE,))]) for word in sorted(used)}
    found.pronunciations = {word: _without_pauses(several, silence) for word, several in given.items()}
    pauses = sum(found.pronunciations[word] != several for word, several in given.items())
    for name, table in found.words.items():
        found.phones[name] = {
            utt: [p for word in words for p in found.pronunciations[word][0].phones] for utt, words in table.items()
        }
    found.notes += _lexicon_notes(found, lexicon, pauses)


def _check_known(
    found: Transcripts, unknown: list[str], used: Mapping[str, int], paths: Mapping[str, Path], lexicon: Lexicon
) -> None:
    """UserError about words without pronunciation, a line for each with the first place where it stands."""
    if not unknown:
        return
    first: dict[str, tuple[str, str]] = {}
    for name, table in found.words.items():
        for utt, words in table.items():
            for word in words:
                first.setdefault(word, (name, utt))
    lines = {
        name: {line.split()[0]: k for k, line in enumerate(read_lines(path), 1) if line.split()}
        for name, path in paths.items()
    }
    report(
        [
            f"{paths[name]}:{lines[name][utt]}: {utt}: word {word!r} ({used[word]} times) is not in the lexicon"
            f"{did_you_mean(word, lexicon.words)}; add it to {lexicon.path}"
            for word in unknown
            for name, utt in [first[word]]
        ]
    )


def _without_pauses(several: list[Pronunciation], silence: SilenceNames) -> list[Pronunciation]:
    """Pronunciations without silence at their ends, where there is more to them (HTK's lexica end words in `sp`)."""
    kept: dict[tuple[str, ...], Pronunciation] = {}
    for given in several:
        phones = [SILENCE if phone in silence else phone for phone in given.phones]
        while len(phones) > 1 and phones[-1] == SILENCE:
            phones.pop()
        while len(phones) > 1 and phones[0] == SILENCE:
            phones.pop(0)
        kept.setdefault(tuple(phones), Pronunciation(tuple(phones), given.probability))
    return list(kept.values())


def _lexicon_notes(found: Transcripts, lexicon: Lexicon, pauses: int) -> list[str]:
    numbers = {0: "", 1: ", with probabilities", 4: ", with probabilities (those of silence are not used)"}
    notes = [f"lexicon: {lexicon.path}, {len(lexicon.words)} words{numbers[lexicon.numbers]}"]
    several = [word for word, given in found.pronunciations.items() if len(given) > 1]
    if several:
        notes.append(
            f"lexicon: {len(several)} of the {len(found.pronunciations)} words used have several pronunciations: "
            "training chooses by alignment; dev and test are scored against the most probable (or else the first)"
        )
    if pauses:
        notes.append(f"lexicon: silence at the ends of the pronunciations of {pauses} words left out: it is optional")
    return notes


def _drop_unheard(found: Transcripts) -> None:
    """Leave out further pronunciations with phones that no transcript of the training set has: they have no model."""
    if "train" not in found.words:
        return
    heard = {phone for phones in found.phones["train"].values() for phone in phones}
    dropped = 0
    for word, (first, *others) in found.pronunciations.items():
        kept = [given for given in others if heard.issuperset(given.phones)]
        dropped += len(others) - len(kept)
        found.pronunciations[word] = [first, *kept]
    if dropped:
        found.notes.append(f"lexicon: {dropped} further pronunciations left out: a phone of theirs is not in train")


def _fold_silence(found: Transcripts, silence: SilenceNames) -> None:
    """Give silence its one name; leave it out where it is transcribed at the ends of utterances only."""
    names: Counter[str] = Counter()
    noises: Counter[str] = Counter()
    for table in found.phones.values():
        for utt, phones in table.items():
            names.update(phone for phone in phones if phone in silence)
            noises.update(phone for phone in phones if is_noise(phone) and phone not in silence)
            table[utt] = phones = [SILENCE if phone in silence else phone for phone in phones]
            found.silence_inside |= SILENCE in _inner(phones)
    said = ", ".join(f"{name} ({times} times)" for name, times in sorted(names.items()))
    if names and found.silence_inside:
        found.notes.append(f"silence: {said} is transcribed, and is where the transcripts have it")
    elif names:
        found.notes.append(f"silence: {said} at the ends of utterances only: left out, and optional everywhere instead")
        for table in found.phones.values():
            table.update({utt: [p for p in phones if p != SILENCE] for utt, phones in table.items()})
        for table in found.words.values():
            table.update({utt: [w for w in words if not _silent(found, w)] for utt, words in table.items()})
    if noises:
        said = ", ".join(f"{name} ({times} times)" for name, times in sorted(noises.items()))
        found.notes.append(f"noise: {said} is a phone of its own, and is not scored")


def _inner(phones: list[str]) -> list[str]:
    """What stands between the first and the last phone that is no silence."""
    spoken = [k for k, phone in enumerate(phones) if phone != SILENCE]
    return phones[spoken[0] : spoken[-1]] if spoken else []


def _silent(found: Transcripts, word: str) -> bool:
    return found.pronunciations[word][0].phones == (SILENCE,)
