"""Kaldi data directories: wav.scp, segments, utt2spk, spk2utt, text, and what must hold between them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from frenchpress.common import UserError, read_lines
from frenchpress.common.typed import read_fraction
from frenchpress.kaldi.scp import read_scp, read_table
from frenchpress.kaldi.segments import Segment, read_segments


@dataclass
class DataDir:
    """The tables of one directory, each sorted by utterance as strings of bytes (C locale).

    `wav`: utterance -> file (or command |) as written; `utt2spk`; `text`: utterance -> tokens. With `segments`,
    utterances are parts of recordings, and `wav` is by recording. A table is empty when the directory has no such file.
    `text_name` is the file of the transcripts; `seconds`: utterance -> how long it is, where that was measured;
    `speeds`: utterance -> how much faster than its recording it is heard, where that is not 1 (`utt2speed`).
    """

    path: Path
    utt2spk: dict[str, str]
    wav: dict[str, str] = field(default_factory=dict)
    text: dict[str, list[str]] = field(default_factory=dict)
    text_name: str = "text"
    segments: dict[str, Segment] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    speeds: dict[str, Fraction] = field(default_factory=dict)
    _lines: dict[str, dict[str, int]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls, path: Path | str, allow_pipes: bool | None = None) -> DataDir:
        """Read a directory; utt2spk must be there, wav.scp and text may be. Does not open any audio."""
        path = Path(path)
        if not path.is_dir():
            raise UserError(f"{path}: no such data directory")
        utt2spk = read_table(path / "utt2spk")
        wav = read_scp(path / "wav.scp", allow_pipes) if (path / "wav.scp").exists() else {}
        text = read_table(path / "text") if (path / "text").exists() else {}
        segments = read_segments(path / "segments") if (path / "segments").exists() else {}
        speeds = _read_speeds(path / "utt2speed") if (path / "utt2speed").exists() else {}
        text = {utt: line.split() for utt, line in text.items()}
        return cls(path, utt2spk, wav, text, segments=segments, speeds=speeds).sorted()

    def where(self, name: str, utt: str) -> str:
        """`path/name:line: utt`, for messages."""
        if name not in self._lines:
            file = self.path / name
            lines = read_lines(file) if file.exists() else []
            self._lines[name] = {words[0]: n for n, line in enumerate(lines, 1) if (words := line.split())}
        number = self._lines[name].get(utt)
        return f"{self.path / name}:{number}: {utt}" if number else f"{self.path / name}: {utt}"

    @property
    def utts(self) -> list[str]:
        """Utterances in order."""
        return list(self.utt2spk)

    @property
    def spk2utt(self) -> dict[str, list[str]]:
        """Speaker -> utterances, both in order."""
        speakers: dict[str, list[str]] = {}
        for utt, speaker in self.utt2spk.items():
            speakers.setdefault(speaker, []).append(utt)
        return in_order(speakers)

    def sorted(self) -> DataDir:
        """The same with all tables in order."""
        tables = ("utt2spk", "wav", "text", "segments", "seconds", "speeds")
        return replace(self, **{name: in_order(getattr(self, name)) for name in tables})

    def problems(self) -> list[str]:
        """What is wrong between the tables, one line each naming file and utterance; empty if nothing."""
        found = []
        if not self.utt2spk:
            found.append(f"{self.path}/utt2spk: empty; expected '<utterance> <speaker>' per line")
        for utt, speaker in self.utt2spk.items():
            if len(speaker.split()) != 1:
                found.append(f"{self.where('utt2spk', utt)} has {speaker!r}; expected one speaker")
        if self.segments:
            found += self._missing(self.segments, "segments", "segment")
            found += [
                f"{self.where('segments', utt)}: recording {part.recording} is not in wav.scp"
                for utt, part in self.segments.items()
                if part.recording not in self.wav
            ]
        elif self.wav:
            found += self._missing(self.wav, "wav.scp", "audio")
        found += self._missing(self.text, self.text_name, "transcript") if self.text else []
        found += [f"{self.where(self.text_name, utt)}: empty transcript" for utt, t in self.text.items() if not t]
        return found

    def validate(self) -> None:
        """UserError with the first problem and how many more there are."""
        raise_problems(self.problems())

    def write(self, path: Path | str) -> None:
        """Write all tables into an existing directory, sorted."""
        path, data = Path(path), self.sorted()
        _write(path / "utt2spk", data.utt2spk)
        _write(path / "spk2utt", {speaker: " ".join(utts) for speaker, utts in data.spk2utt.items()})
        if data.wav:
            _write(path / "wav.scp", data.wav)
        if data.segments:
            _write(path / "segments", {utt: str(part) for utt, part in data.segments.items()})
        if data.seconds:
            _write(path / "utt2dur", {utt: f"{length:.3f}" for utt, length in data.seconds.items()})
        if data.speeds:
            _write(path / "utt2speed", {utt: str(speed) for utt, speed in data.speeds.items()})
        if data.text:
            _write(path / "text", {utt: " ".join(tokens) for utt, tokens in data.text.items()})

    def _missing(self, table: dict, name: str, what: str) -> list[str]:
        absent = [utt for utt in self.utt2spk if utt not in table]
        strangers = [utt for utt in table if utt not in self.utt2spk]
        return [f"{self.where('utt2spk', utt)} has no {what} in {name}" for utt in absent] + [
            f"{self.where(name, utt)} is not in utt2spk, which must name its speaker" for utt in strangers
        ]


def _read_speeds(path: Path) -> dict[str, Fraction]:
    try:
        found = {utt: read_fraction(speed) for utt, speed in read_table(path).items()}
    except (ValueError, ZeroDivisionError):
        raise UserError(f"{path}: expected '<utterance> <speed>' per line, such as 0.9 or 9/10") from None
    if any(not 0 < speed <= 10 for speed in found.values()):
        raise UserError(f"{path}: a speed that is not above 0 and at most 10")
    return found


def in_order(table: dict) -> dict:
    """The same table with its keys in the order of their bytes, as `LC_ALL=C sort` has them."""
    return {key: table[key] for key in sorted(table, key=str.encode)}


def raise_problems(found: list[str]) -> None:
    """UserError with the first problem and the number of the others; nothing when there is none."""
    if found:
        more = len(found) - 1
        raise UserError(found[0] + (f" (and {more} more problem{'s' * (more > 1)})" if more else ""))


def _write(path: Path, table: dict[str, str]) -> None:
    path.write_text("".join(f"{key} {value}".rstrip() + "\n" for key, value in table.items()))
