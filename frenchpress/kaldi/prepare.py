"""A corpus that is laid out as Kaldi likes it, to data directories and a dictionary.

DIR/{train,dev,test}/ hold wav.scp, utt2spk and either `phones` (phones of each utterance; | between words is
dropped) or `text` (words) with a lexicon (DIR/lexicon.txt or DIR/dict/lexicon.txt: word phone phone ...).

    python -m frenchpress.kaldi.prepare --corpus-dir DIR --out data --nj 4
"""

from __future__ import annotations

import argparse
from pathlib import Path

from frenchpress.common import UserError, atomic_dir, digest, is_done, locked_dir, mark_done, read_lines, run_main
from frenchpress.kaldi.audio import file_state
from frenchpress.kaldi.datadir import DataDir, in_order
from frenchpress.kaldi.scp import is_pipe, read_scp, read_table, resolve
from frenchpress.kaldi.validate import RATE, check, report

SPLITS = ("train", "dev", "test")
SILENCE = "SIL"
SILENCE_PROBABILITY = 0.1
WORD_MARK = "|"


def prepare(corpus: Path, out: Path, nj: int = 1, rate: int = RATE, allow_pipes: bool = False) -> bool:
    """Write out/{train,dev,test,dict}; False when they are there already. Nothing is written from a bad corpus."""
    if not corpus.is_dir() or not any(corpus.iterdir()):
        wrong = "empty" if corpus.is_dir() else "no such directory"
        raise UserError(f"{corpus}: {wrong}, expected a corpus with train/, dev/ and test/ in it")
    lexicon = read_lexicon(corpus)
    splits = {name: read_split(corpus, name, lexicon, allow_pipes) for name in SPLITS}
    key = {
        "stage": "kaldi-data",
        "rate": rate,
        "tables": [digest(*_tables(corpus, name)) for name in SPLITS],
        "lexicon": sorted(map(list, (lexicon or {}).items())),
        "audio": [file_state(data) for data in splits.values()],
    }
    with locked_dir(out):
        missing = [name for name in (*SPLITS, "dict") if not is_done(out / name, key)]
        if not missing:
            return False
        check(list(splits.values()), rate, nj, allow_pipes)
        for name in missing:
            with atomic_dir(out / name) as work:
                if name == "dict":
                    _write_dict(splits["train"], work)
                else:
                    _placed(splits[name], corpus).write(work)
                mark_done(work, key)
    return True


def read_lexicon(corpus: Path) -> dict[str, list[str]] | None:
    """Word -> phones (the first pronunciation where there are several); None without a lexicon."""
    path = next((p for p in (corpus / "lexicon.txt", corpus / "dict/lexicon.txt") if p.is_file()), None)
    if path is None:
        return None
    lexicon: dict[str, list[str]] = {}
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split()
        if len(fields) == 1:
            raise UserError(f"{path}:{number}: {fields[0]} has no phones; expected '<word> <phone> <phone> ...'")
        if fields:
            lexicon.setdefault(fields[0], fields[1:])
    return lexicon


def read_split(corpus: Path, name: str, lexicon: dict[str, list[str]] | None, allow_pipes: bool = False) -> DataDir:
    """One split as it lies in the corpus, its transcripts in phones."""
    place = corpus / name
    if not place.is_dir():
        raise UserError(f"{place}: no such directory, expected train/, dev/ and test/ in {corpus}")
    for file in ("wav.scp", "utt2spk"):
        if not (place / file).is_file():
            raise UserError(f"{place / file}: no such file; {place} needs wav.scp, utt2spk, and phones or text")
        if not read_lines(place / file):
            raise UserError(f"{place / file}: empty, expected a line per utterance")
    text = in_order(_transcripts(place, lexicon))
    wav, utt2spk = read_scp(place / "wav.scp", allow_pipes), read_table(place / "utt2spk")
    data = DataDir(place, in_order(utt2spk), in_order(wav), text, _transcript_file(place).name)
    if not text:
        raise UserError(f"{_transcript_file(place)}: empty, expected a line per utterance")
    return data


def _transcript_file(place: Path) -> Path:
    return place / ("phones" if (place / "phones").exists() else "text")


def _transcripts(place: Path, lexicon: dict[str, list[str]] | None) -> dict[str, list[str]]:
    path = _transcript_file(place)
    if not path.exists():
        raise UserError(f"{path}: no such file; give {place}/phones, or text (words) with {place.parent}/lexicon.txt")
    table = {utt: line.split() for utt, line in read_table(path).items()}
    if path.name == "phones":
        return {utt: [p for p in phones if p != WORD_MARK] for utt, phones in table.items()}
    if lexicon is None:
        raise UserError(f"{path}: words, but no lexicon; give {place}/phones, or {place.parent}/lexicon.txt")
    lines = {words[0]: n for n, line in enumerate(read_lines(path), 1) if (words := line.split())}
    unknown = [(utt, w) for utt, words in table.items() for w in words if w not in lexicon]
    report([f"{path}:{lines[utt]}: {utt}: word {word!r} is not in the lexicon" for utt, word in unknown])
    return {utt: [p for word in words for p in lexicon[word]] for utt, words in table.items()}


def _tables(corpus: Path, name: str) -> list[Path]:
    place = corpus / name
    return [place / "wav.scp", place / "utt2spk", _transcript_file(place)]


def _placed(data: DataDir, corpus: Path) -> DataDir:
    """The same with audio files named as seen from the current directory (or absolutely, as the corpus is)."""
    wav = {}
    for utt, entry in data.wav.items():
        if is_pipe(entry) or Path(entry).is_absolute():
            wav[utt] = entry
        else:
            base = next((b for b in (data.path, corpus) if (b / entry).exists()), None)
            wav[utt] = str(base / entry if base else resolve(entry, data.path))
    return DataDir(data.path, data.utt2spk, wav, data.text)


def _write_dict(train: DataDir, work: Path) -> None:
    heard = sorted({phone for phones in train.text.values() for phone in phones}, key=str.encode)
    # A corpus that transcribes its silences needs no optional ones.
    probability = 0 if SILENCE in heard else SILENCE_PROBABILITY
    phones = [phone for phone in heard if phone != SILENCE]
    files = {
        "nonsilence_phones.txt": phones,
        "silence_phones.txt": [SILENCE],
        "optional_silence.txt": [SILENCE],
        "sil_prob": [str(probability)],
        "score_map.txt": [SILENCE, *(f"{phone} {phone}" for phone in phones)],
    }
    for name, lines in files.items():
        (work / name).write_text("".join(f"{line}\n" for line in lines))


def main() -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus-dir", type=Path, required=True, help="holds train/, dev/ and test/")
    parser.add_argument("--out", type=Path, default=Path("data"), help="where data directories go (data)")
    parser.add_argument("--rate", type=int, default=RATE, help="sampling rate in Hz that all audio must have")
    parser.add_argument("--nj", type=int, default=1, help="processes")
    parser.add_argument("--allow-pipes", action="store_true", help="run wav.scp entries that are shell commands")
    args = parser.parse_args()
    made = prepare(args.corpus_dir, args.out, args.nj, args.rate, args.allow_pipes)
    print(f"{args.out}: train, dev, test and dict {'written' if made else 'are up to date'}")


if __name__ == "__main__":
    run_main(main)
