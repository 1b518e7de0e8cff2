"""Read an LDC93S1 tree, TIMIT itself or its synthetic twin: which utterances, whose, with which phones.

    TRAIN|TEST / DRx / SPEAKER / SENTENCE.{WAV,PHN}      names in upper or lower case

`.WAV` is NIST SPHERE or RIFF (`.WAV.wav` next to or in place of it, as some copies have it, is accepted).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from frenchpress.common import UserError, read_lines
from timit.audio import RATE, check_audio
from timit.phones import LABELS_61
from timit.speakers import CORE_TEST, DEV, UTTERANCES

MARKER = "SYNTH.yaml"
"""At the root of a synthetic tree: speakers of each split, sentences per speaker."""

# TIMIT's own last boundary may lie a little behind the last sample; more than this means missing audio.
_SLACK = RATE // 10

_SPEAKER = re.compile(r"[fm][a-z0-9]{3}[0-9]", re.IGNORECASE)
_SENTENCE = re.compile(r"s[aix][0-9]+", re.IGNORECASE)


@dataclass(frozen=True)
class Segment:
    """A label of the 61 from sample `begin` up to sample `end`."""

    begin: int
    end: int
    label: str


@dataclass(frozen=True)
class Utterance:
    """One sentence of one speaker; `id` is SPEAKER_SENTENCE in upper case, `wav` and `phn` are absolute."""

    id: str
    speaker: str
    wav: Path
    phn: Path
    samples: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class _Splits:
    speakers: dict[str, frozenset[str] | None]  # None: every speaker of the half
    counts: dict[str, int]


def read_corpus(root: Path) -> dict[str, list[Utterance]]:
    """The utterances of train, dev and test, sorted by id, SA sentences left out; everything is checked.

    UserError if the tree is not LDC93S1, is not whole, or one of its files is not what it should be.
    """
    root = find_root(root)
    splits = _read_splits(root)
    files = {half: _speaker_dirs(root, half) for half in ("TRAIN", "TEST")}
    corpus = {}
    for split, wanted in splits.speakers.items():
        half = files["TRAIN" if split == "train" else "TEST"]
        missing = sorted((wanted or frozenset()) - half.keys())
        if missing:
            raise UserError(f"{root}: {split} speaker {missing[0]} is not there ({len(missing)} missing)")
        found = [
            utterance
            for speaker in sorted(half if wanted is None else wanted)
            for utterance in _read_speaker(speaker, half[speaker])
        ]
        if len(found) != splits.counts[split]:
            raise UserError(
                f"{root}: {len(found)} {split} utterances (SX and SI), expected {splits.counts[split]};"
                " is the copy whole?"
            )
        corpus[split] = sorted(found, key=lambda utterance: utterance.id)
    return corpus


def find_root(root: Path) -> Path:
    """The directory that holds TRAIN and TEST: `root`, or TIMIT in it (LDC's disc), in any case."""
    if not root.is_dir():
        raise UserError(f"{root}: no such directory; expected an LDC93S1 tree (TRAIN/ and TEST/ in it)")
    if not any(root.iterdir()):
        raise UserError(f"{root}: empty directory; expected an LDC93S1 tree (TRAIN/ and TEST/ in it)")
    place: Path | None = root
    while place is not None:
        if _child(place, "TRAIN") and _child(place, "TEST"):
            return place.resolve()
        place = _child(place, "TIMIT")
    raise UserError(f"{root}: not an LDC93S1 tree, looked for TRAIN/ and TEST/ in it and in its TIMIT/")


def read_phn(path: Path) -> tuple[Segment, ...]:
    """A .PHN file: lines of first sample, sample behind the last, label; UserError with the line if not."""
    segments = []
    last = 0
    for number, line in enumerate(read_lines(path), 1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 3 or not (parts[0].isdecimal() and parts[1].isdecimal()):
            raise UserError(f"{path}:{number}: '{line.strip()}', expected: first-sample end-sample label")
        begin, end, label = int(parts[0]), int(parts[1]), parts[2].lower()
        if label not in LABELS_61:
            raise UserError(f"{path}:{number}: unknown phone '{parts[2]}', not one of TIMIT's 61")
        if end <= begin or begin < last:
            raise UserError(f"{path}:{number}: segment {begin}-{end} is empty or goes back in time")
        segments.append(Segment(begin, end, label))
        last = begin
    if not segments:
        raise UserError(f"{path}: no phones in it")
    return tuple(segments)


def _read_splits(root: Path) -> _Splits:
    marker = root / MARKER
    if not marker.exists():
        return _Splits({"train": None, "dev": DEV, "test": CORE_TEST}, UTTERANCES)
    try:
        content = yaml.safe_load("\n".join(read_lines(marker)))
        per_speaker = int(content["sentences_per_speaker"])
        speakers = {split: frozenset(map(str, content["splits"][split])) for split in UTTERANCES}
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise UserError(f"{marker}: expected `sentences_per_speaker` and `splits` with train, dev and test") from None
    return _Splits(dict(speakers), {split: per_speaker * len(names) for split, names in speakers.items()})


def _speaker_dirs(root: Path, half: str) -> dict[str, Path]:
    """Speaker in upper case -> its directory, of TRAIN or TEST."""
    found: dict[str, Path] = {}
    for region in _visible(_child(root, half) or root):
        if not (region.is_dir() and re.fullmatch(r"dr\d", region.name, re.IGNORECASE)):
            continue
        for place in _visible(region):
            if place.is_dir() and _SPEAKER.fullmatch(place.name):
                name = place.name.upper()
                if name in found:
                    raise UserError(f"{place}: speaker {name} is also in {found[name]}")
                found[name] = place
    if not found:
        raise UserError(f"{root}: no speakers in {half}/, looked for {half}/DR1/FABC0/ and the like")
    return found


def _read_speaker(speaker: str, place: Path) -> Iterator[Utterance]:
    wavs, phns = _sentences(_visible(place))
    for sentence in sorted(wavs.keys() | phns.keys()):
        if sentence.startswith("SA"):
            continue
        if sentence not in phns:
            raise UserError(f"{wavs[sentence]}: no transcript, {sentence}.PHN is not beside it")
        if sentence not in wavs:
            raise UserError(f"{phns[sentence]}: no audio, {sentence}.WAV is not beside it")
        wav, phn = wavs[sentence], phns[sentence]
        samples, segments = check_audio(wav), read_phn(phn)
        if segments[-1].end > samples + _SLACK:
            raise UserError(f"{phn}: ends at sample {segments[-1].end}, but {wav.name} has {samples}")
        yield Utterance(f"{speaker}_{sentence}", speaker, wav, phn, samples, segments)


def _sentences(files: Iterable[Path]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Sentence in upper case -> audio file, and -> .PHN file. A plain .WAV is preferred to .WAV.wav."""
    wavs: dict[str, Path] = {}
    phns: dict[str, Path] = {}
    for path in sorted(files, key=lambda path: (len(path.name), path.name)):
        sentence, _, suffix = path.name.partition(".")
        if not _SENTENCE.fullmatch(sentence):
            continue
        if suffix.lower() in ("wav", "wav.wav"):
            wavs.setdefault(sentence.upper(), path)
        elif suffix.lower() == "phn":
            phns.setdefault(sentence.upper(), path)
    return wavs, phns


def _visible(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if not path.name.startswith("."))


def _child(place: Path, name: str) -> Path | None:
    """The subdirectory of that name in any case."""
    return next((path for path in _visible(place) if path.is_dir() and path.name.upper() == name), None)
