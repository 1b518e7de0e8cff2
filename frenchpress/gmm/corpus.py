"""The utterances of a data directory in memory, their frames one after the other in one matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, read_lines
from frenchpress.feats.cmvn import apply_cmvn
from frenchpress.feats.deltas import add_deltas
from frenchpress.feats.splice import splice
from frenchpress.gmm.fmllr import apply_affine
from frenchpress.gmm.nets import Choices
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.io import MatrixReader
from frenchpress.kaldi.lexicon import read_lexicon
from frenchpress.kaldi.scp import read_table

Frames = NDArray[np.float32]


@dataclass
class Corpus:
    """Utterances in order; those of utterance k are frames offsets[k] to offsets[k + 1] of `feats` [F, D].

    `phones` are transcripts as phone ids (empty lists where there is no text); `speakers` one per utterance; `words`,
    where some have several pronunciations: of each word the phone ids and log-probabilities of all.
    """

    utts: list[str]
    speakers: list[str]
    phones: list[list[int]]
    offsets: NDArray[np.int64]
    feats: Frames
    words: list[list[Choices]] = field(default_factory=list)

    @classmethod
    def load(cls, data: Path | str, symbols: dict[str, int] | None = None) -> Corpus:
        """MFCC with the speaker's mean taken off, and the transcripts as ids of `symbols` if given."""
        data = Path(data)
        tables = DataDir.load(data, allow_pipes=True)
        tables.validate()
        mfcc, stats = MatrixReader(data / "feats.scp"), MatrixReader(data / "cmvn.scp")
        cmvn = {speaker: stats[speaker] for speaker in stats}
        utts = [utt for utt in tables.utts if utt in mfcc]
        if not utts:
            raise UserError(f"{data}/feats.scp: no features for any utterance of utt2spk; make them first")
        parts = []
        for utt in utts:
            speaker = tables.utt2spk[utt]
            if speaker not in cmvn:
                raise UserError(f"{data}/cmvn.scp: no statistics for speaker {speaker} of {utt}")
            parts.append(apply_cmvn(mfcc[utt], cmvn[speaker]))
        phones = _phone_ids(data / "text", utts, tables.text, symbols) if symbols else [[] for _ in utts]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        feats = np.concatenate(parts).astype(np.float32)
        chosen = symbols and all((data / name).exists() for name in ("words", "lexiconp.txt"))
        words = _words(data, utts, symbols) if chosen else []
        return cls(utts, [tables.utt2spk[utt] for utt in utts], phones, offsets.astype(np.int64), feats, words)

    @property
    def lengths(self) -> list[int]:
        """Frames per utterance."""
        return np.diff(self.offsets).tolist()

    def rows(self, k: int) -> slice:
        """The frames of utterance k."""
        return slice(int(self.offsets[k]), int(self.offsets[k + 1]))

    def split(self, flat: NDArray) -> Iterator[tuple[str, NDArray]]:
        """(utterance, its part) of an array with one row per frame."""
        return ((utt, flat[self.rows(k)]) for k, utt in enumerate(self.utts))

    def deltas(self) -> Frames:
        """The frames with first and second differences, [F, 3 D]."""
        return np.concatenate([add_deltas(part) for _, part in self.split(self.feats)]).astype(np.float32)

    def spliced(self, left: int, right: int) -> Frames:
        """The frames with their neighbours, [F, (left + 1 + right) D]."""
        parts = [splice(part, left, right) for _, part in self.split(self.feats)]
        return np.concatenate(parts).astype(np.float32)

    def adapt(self, frames: Frames, transforms: dict[str, NDArray]) -> Frames:
        """`frames` [F, D] with each speaker's affine transform applied; speakers without one stay."""
        out = np.array(frames, np.float32)
        for k, speaker in enumerate(self.speakers):
            if speaker in transforms:
                out[self.rows(k)] = apply_affine(frames[self.rows(k)], transforms[speaker])
        return out


def read_symbols(path: Path | str) -> dict[str, int]:
    """`phones.txt`, `words.txt`: symbol to id."""
    symbols = {}
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split()
        if len(fields) != 2 or not fields[1].isdigit():
            raise UserError(f"{path}:{number}: expected '<symbol> <id>', found {line!r}")
        symbols[fields[0]] = int(fields[1])
    return symbols


def _phone_ids(path: Path, utts: list[str], text: dict[str, list[str]], symbols: dict[str, int]) -> list[list[int]]:
    found = []
    for utt in utts:
        tokens = text.get(utt, [])
        unknown = [token for token in tokens if symbols.get(token, 0) <= 0]
        if unknown:
            raise UserError(f"{path}: {utt}: unknown phone {unknown[0]!r}; lang/phones.txt lists the known ones")
        found.append([symbols[token] for token in tokens])
    return found


def _words(data: Path, utts: list[str], symbols: dict[str, int]) -> list[list[Choices]]:
    """The pronunciations of all words of all utterances, from `words` and `lexiconp.txt` of a data directory."""
    lexicon = read_lexicon(data / "lexiconp.txt").words
    choices = {
        word: [
            ([_id(phone, symbols, data / "lexiconp.txt") for phone in p.phones], math.log(p.probability)) for p in found
        ]
        for word, found in lexicon.items()
    }
    table = read_table(data / "words")
    return [[choices[word] for word in table[utt].split()] for utt in utts]


def _id(phone: str, symbols: dict[str, int], path: Path) -> int:
    number = symbols.get(phone, 0)
    if number <= 0:
        raise UserError(f"{path}: unknown phone {phone!r}; lang/phones.txt lists the known ones")
    return number
