"""A corpus that is laid out as Kaldi likes it, to data directories and a dictionary.

DIR/{train,dev,test}/ hold wav.scp, utt2spk, perhaps segments, and either `phones` (phones of each utterance; | between
words is dropped) or `text` (words) with a lexicon (DIR/lexicon.txt, DIR/dict/lexicon.txt; lexiconp.txt). DIR/phones.map
may say what each phone is scored as. docs/own_speech.md has all of it with examples.

    python -m frenchpress.kaldi.prepare --corpus-dir DIR --out data --nj 4
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from frenchpress.common import UserError, atomic_dir, digest, is_done, locked_dir, mark_done, read_lines, run_main
from frenchpress.kaldi.audio import file_state
from frenchpress.kaldi.datadir import DataDir, in_order
from frenchpress.kaldi.lexicon import find_lexicon
from frenchpress.kaldi.scp import is_pipe, parse_entry, read_scp, read_table, resolve
from frenchpress.kaldi.segments import Segment, read_segments
from frenchpress.kaldi.silence import SILENCE, SilenceNames, is_noise
from frenchpress.kaldi.transcripts import Transcripts, read_transcripts, transcript_file
from frenchpress.kaldi.validate import RATE, check

SPLITS = ("train", "dev", "test")
SILENCE_PROBABILITY = 0.1
_TABLES = ("wav.scp", "utt2spk", "segments")


def prepare(
    corpus: Path,
    out: Path,
    nj: int = 1,
    rate: int = RATE,
    allow_pipes: bool = False,
    silence: tuple[str, ...] = (),
    score_map: Path | None = None,
) -> bool:
    """Write out/{train,dev,test,dict}; False when they are there already. Nothing is written from a bad corpus.

    `silence`: names of silence, in place of the usual ones; `score_map`: in place of the corpus' own phones.map.
    """
    _check_places(corpus, out)
    splits = {name: read_split(corpus, name, allow_pipes) for name in SPLITS}
    found = read_transcripts(corpus, SPLITS, SilenceNames(silence))
    for name, data in splits.items():
        splits[name] = replace(data, text=in_order(found.phones[name]), text_name=transcript_file(data.path).name)
    scored = _scored(splits, score_map or corpus / "phones.map", given=score_map is not None, notes=found.notes)
    key = _key(corpus, splits, rate, silence, find_lexicon(corpus) if found.words else None)
    keys = {name: key for name in SPLITS} | {"dict": key | {"scored": scored}}
    for note in found.notes:
        print(note)
    with locked_dir(out):
        missing = [name for name in keys if not is_done(out / name, keys[name])]
        if not missing:
            return False
        samples = check(list(splits.values()), rate, nj, allow_pipes, stored=False)
        for data, lengths in zip(splits.values(), samples):
            data.seconds.update({utt: count / rate for utt, count in lengths.items()})
        for name in missing:
            with atomic_dir(out / name) as work:
                if name == "dict":
                    _write_dict(scored, found.silence_inside, work)
                else:
                    _placed(splits[name], corpus).write(work)
                    _write_words(found, name, work)
                mark_done(work, keys[name])
    return True


def _key(
    corpus: Path, splits: dict[str, DataDir], rate: int, silence: tuple[str, ...], lexicon: Path | None
) -> dict[str, Any]:
    """What the three sets depend on."""
    return {
        "stage": "kaldi-data with durations",
        "rate": rate,
        "tables": [digest(*_tables(corpus, name)) for name in SPLITS],
        "lexicon": digest(lexicon) if lexicon else None,
        "silence": list(silence),
        "audio": [file_state(data) for data in splits.values()],
    }


def _check_places(corpus: Path, out: Path) -> None:
    if not corpus.is_dir() or not any(corpus.iterdir()):
        wrong = "empty" if corpus.is_dir() else "no such directory"
        raise UserError(f"{corpus}: {wrong}, expected a corpus with train/, dev/ and test/ in it")
    if corpus.resolve() == out.resolve():
        raise UserError(
            f"{out}: is the corpus itself, which is left as it is; prepare it in another directory (--data)"
        )


def read_split(corpus: Path, name: str, allow_pipes: bool | None = None) -> DataDir:
    """One split as it lies in the corpus, without its transcripts."""
    place = corpus / name
    if not place.is_dir():
        raise UserError(f"{place}: no such directory, expected train/, dev/ and test/ in {corpus}")
    for file in ("wav.scp", "utt2spk"):
        if not (place / file).is_file():
            raise UserError(f"{place / file}: no such file; {place} needs wav.scp, utt2spk, and phones or text")
        if not read_lines(place / file):
            raise UserError(f"{place / file}: empty, expected a line per utterance")
    data = DataDir(place, read_table(place / "utt2spk"), read_scp(place / "wav.scp", allow_pipes))
    if (place / "segments").exists():
        data.segments = _all_segments(data, read_segments(place / "segments"))
        used = {part.recording for part in data.segments.values()}
        if unused := [name for name in data.wav if name not in used]:
            print(f"{place}/wav.scp: {len(unused)} recordings that no segment is in are left out: {unused[0]} ...")
            data.wav = {name: entry for name, entry in data.wav.items() if name in used}
    return data.sorted()


def _all_segments(data: DataDir, segments: dict[str, Segment]) -> dict[str, Segment]:
    """With those utterances that have a recording of their own name and no line in `segments`."""
    whole = [utt for utt in data.utt2spk if utt not in segments and utt in data.wav]
    if whole:
        print(f"{data.path}/segments: {len(whole)} utterances are not in it and are whole recordings: {whole[0]} ...")
    return segments | {utt: Segment(utt) for utt in whole}


def _tables(corpus: Path, name: str) -> list[Path]:
    place = corpus / name
    return [path for file in _TABLES if (path := place / file).exists()] + [transcript_file(place)]


def _placed(data: DataDir, corpus: Path) -> DataDir:
    """The same with audio files named as seen from the current directory (or absolutely, as the corpus is)."""
    wav = {}
    for utt, entry in data.wav.items():
        if is_pipe(entry) or Path(entry).is_absolute():
            wav[utt] = entry
        else:
            name = parse_entry(entry).name
            base = next((b for b in (data.path, corpus) if (b / name).exists()), None)
            wav[utt] = str(base / name if base else resolve(name, data.path)) + entry.strip()[len(name) :]
    return replace(data, wav=wav)


def _scored(splits: dict[str, DataDir], path: Path, given: bool, notes: list[str]) -> dict[str, str]:
    """What each phone of the training set is scored as, "" for not at all: itself where no map says otherwise."""
    heard = {phone for phones in splits["train"].text.values() for phone in phones} | {SILENCE}
    scored = {phone: "" if phone == SILENCE or is_noise(phone) else phone for phone in sorted(heard, key=str.encode)}
    if not given and not path.exists():
        return scored
    table = read_table(path)
    for phone, target in table.items():
        if len(target.split()) > 1:
            raise UserError(f"{path}: {phone} maps to {target!r}, expected one phone, or none to leave it out")
    known = {phone: target for phone, target in table.items() if phone in scored}
    if not known:
        raise UserError(
            f"{path}: none of its {len(table)} phones is one of the corpus: {' '.join(list(scored)[:10])} ..."
        )
    scored |= known
    others = [phone for phone in scored if phone not in known and phone != SILENCE]
    notes.append(
        f"score map: {path}: {len(scored) - 1} phones are scored as {len({s for s in scored.values() if s})}"
        + (f"; not in it, and scored as they are: {' '.join(others)}" if others else "")
        + (f"; {len(table) - len(known)} of its phones do not occur" if len(known) < len(table) else "")
    )
    return scored


def _write_dict(scored: dict[str, str], silence_inside: bool, work: Path) -> None:
    # A corpus that transcribes its silences needs no optional ones.
    probability = 0 if silence_inside else SILENCE_PROBABILITY
    files = {
        "nonsilence_phones.txt": [phone for phone in scored if phone != SILENCE],
        "silence_phones.txt": [SILENCE],
        "optional_silence.txt": [SILENCE],
        "sil_prob": [str(probability)],
        "score_map.txt": sorted((f"{phone} {target}".strip() for phone, target in scored.items()), key=_silence_first),
    }
    for name, lines in files.items():
        (work / name).write_text("".join(f"{line}\n" for line in lines))


def _silence_first(line: str) -> tuple[bool, bytes]:
    return line.split()[0] != SILENCE, line.encode()


def _write_words(found: Transcripts, split: str, work: Path) -> None:
    """`words` and `lexiconp.txt`, where alignment has pronunciations to choose from."""
    if split in found.chosen:
        table = in_order(found.words[split])
        (work / "words").write_text("".join(f"{utt} {' '.join(words)}\n" for utt, words in table.items()))
        lines = [
            f"{word} {given.probability!r} {' '.join(given.phones)}\n"
            for word, several in in_order(found.pronunciations).items()
            for given in several
        ]
        (work / "lexiconp.txt").write_text("".join(lines))


def main() -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus-dir", type=Path, required=True, help="holds train/, dev/ and test/")
    parser.add_argument("--out", type=Path, default=Path("data"), help="where data directories go (data)")
    parser.add_argument("--rate", type=int, default=RATE, help="sampling rate in Hz that all audio must have")
    parser.add_argument("--nj", type=int, default=1, help="processes")
    parser.add_argument("--allow-pipes", action="store_true", help="run wav.scp entries that are shell commands")
    parser.add_argument("--silence", default="", metavar='"A B"', help="phones that are silence (sil, sp, pau, ...)")
    parser.add_argument("--score-map", type=Path, help="what phones are scored as, two columns (DIR/phones.map)")
    args = parser.parse_args()
    silence = tuple(args.silence.split())
    made = prepare(args.corpus_dir, args.out, args.nj, args.rate, args.allow_pipes, silence, args.score_map)
    print(f"{args.out}: train, dev, test and dict {'written' if made else 'are up to date'}")


if __name__ == "__main__":
    run_main(main)
