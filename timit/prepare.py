"""An LDC93S1 tree to Kaldi data directories: `python -m timit.prepare --corpus-dir DIR --out data`.

Writes data/{train,dev,test} (wav.scp, utt2spk, spk2utt, text: 48 training phones) and data/dict. The silence
phone stands in the transcripts, so none is inserted by the lexicon (`sil_prob` 0); in scoring a silence that the
hypothesis leaves out is no error (`optional_tokens.txt`), both as Kaldi's recipe has it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from frenchpress.common import UserError, atomic_dir, locked_dir, run_main
from timit.audio import RATE
from timit.phones import SILENCE, TO_39, fold
from timit.reader import Utterance, read_corpus

Files = dict[str, str]
"""File name -> content."""


def data_files(utterances: Sequence[Utterance]) -> Files:
    """The files of one Kaldi data directory."""
    speakers = [
        (speaker, [utterance.id for utterance in group])
        for speaker, group in groupby(utterances, key=lambda utterance: utterance.speaker)
    ]
    return {
        "wav.scp": _lines(f"{utterance.id} {utterance.wav}" for utterance in utterances),
        "utt2spk": _lines(f"{utterance.id} {utterance.speaker}" for utterance in utterances),
        "utt2dur": _lines(f"{utterance.id} {utterance.samples / RATE:.3f}" for utterance in utterances),
        "spk2utt": _lines(f"{speaker} {' '.join(ids)}" for speaker, ids in speakers),
        "text": _lines(f"{utterance.id} {' '.join(transcript(utterance))}" for utterance in utterances),
    }


def dict_files(corpus: dict[str, list[Utterance]]) -> Files:
    """The phones of the training transcripts and how they are scored.

    UserError if dev or test has a phone that was never heard in training: it would have no model.
    """
    phones = {split: {p for u in part for p in transcript(u)} for split, part in corpus.items()}
    for split in ("dev", "test"):
        unseen = sorted(phones[split] - phones["train"])
        if unseen:
            raise UserError(f"{split}: phone '{unseen[0]}' does not occur in train, which must have it")
    heard = sorted(phones["train"] - {SILENCE})
    return {
        "nonsilence_phones.txt": _lines(heard),
        "silence_phones.txt": f"{SILENCE}\n",
        "optional_silence.txt": f"{SILENCE}\n",
        "sil_prob": "0.0\n",
        "extra_questions.txt": _lines([SILENCE, " ".join(heard)]),
        "score_map.txt": _lines(f"{phone} {TO_39[phone]}" for phone in sorted([SILENCE, *heard])),
        "optional_tokens.txt": f"{SILENCE}\n",
    }


def transcript(utterance: Utterance) -> list[str]:
    """Training phones (of the 48) of an utterance."""
    return fold(segment.label for segment in utterance.segments)


def prepare(corpus_dir: Path, out: Path) -> None:
    """Read and check the corpus at `corpus_dir`, write the data directories below `out`."""
    corpus = read_corpus(corpus_dir)
    contents = {split: data_files(part) for split, part in corpus.items()}
    contents["dict"] = dict_files(corpus)
    with locked_dir(out):
        for name, files in contents.items():
            if _unchanged(out / name, files):
                print(f"{out / name} is up to date")
                continue
            with atomic_dir(out / name) as place:
                for file, content in files.items():
                    (place / file).write_text(content, encoding="utf-8")
            if name in corpus:
                print(f"{out / name}: written")


def _unchanged(place: Path, files: Files) -> bool:
    paths = [(place / file, content) for file, content in files.items()]
    return all(path.is_file() and path.read_text(encoding="utf-8") == content for path, content in paths)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def main() -> None:
    """Command-line entry."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus-dir", type=Path, required=True, help="LDC93S1 tree, or a synthetic one")
    parser.add_argument("--out", type=Path, required=True, help="data directory to write, e.g. data")
    options = parser.parse_args()
    prepare(options.corpus_dir, options.out)


if __name__ == "__main__":
    run_main(main)
