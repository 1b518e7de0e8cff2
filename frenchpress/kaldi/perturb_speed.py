"""A training set three times over: as it is, and faster and slower, as Kaldi's utils/perturb_data_dir_speed.sh.

    python -m frenchpress.kaldi.perturb_speed --speeds "0.9 1.1" data/train data/train_sp

Utterances and speakers at another speed have `sp0.9-` before their names. `utt2speed` says which these are; their audio
is made when features are. Ko et al., "Audio augmentation for speech recognition", Interspeech 2015.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from frenchpress.common import UserError, atomic_dir, digest, is_done, locked_dir, mark_done, run_main
from frenchpress.common.typed import read_fraction
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.scp import is_pipe, read_table, resolve

_SLOWEST, _FASTEST = Fraction(1, 2), Fraction(2)
_TABLES = ("wav.scp", "segments", "utt2spk", "text", "words", "lexiconp.txt", "utt2dur")


def read_speeds(text: str) -> dict[str, Fraction]:
    """`0.9 1.1` -> the speeds by their names; UserError for what is none."""
    found: dict[str, Fraction] = {}
    for name in text.split():
        try:
            speed = read_fraction(name)
        except (ValueError, ZeroDivisionError):
            raise UserError(f"speed {name!r}, expected numbers such as 0.9 1.1") from None
        if not _SLOWEST <= speed <= _FASTEST or speed == 1 or speed.denominator > 1000 or speed in found.values():
            raise UserError(f"speed {name}: expected each once, from 0.5 to 2, other than 1, at most three decimals")
        found[name] = speed
    if not found:
        raise UserError("no speeds; expected numbers such as 0.9 1.1")
    return found


def perturbed(data: DataDir, speeds: dict[str, Fraction]) -> DataDir:
    """The data directory and, behind it, each utterance of it at each speed."""
    result = replace(data, utt2spk=dict(data.utt2spk), wav=dict(data.wav), text=dict(data.text))
    result = replace(result, segments=dict(data.segments), seconds=dict(data.seconds), speeds={})
    for name, speed in speeds.items():
        new = {utt: f"sp{name}-{utt}" for utt in data.utts}
        if taken := next((utt for utt in new.values() if utt in result.utt2spk), None):
            raise UserError(f"{data.path}: {taken} is there already; is it perturbed?")
        result.speeds |= {new[utt]: speed for utt in data.utts}
        result.utt2spk |= {new[utt]: f"sp{name}-{speaker}" for utt, speaker in data.utt2spk.items()}
        result.text |= {new[utt]: tokens for utt, tokens in data.text.items()}
        result.seconds |= {new[utt]: seconds / float(speed) for utt, seconds in data.seconds.items()}
        # Segments lie in the recordings as they are; an utterance without is one recording.
        result.segments |= {new[utt]: part for utt, part in data.segments.items()}
        result.wav |= {} if data.segments else {new[utt]: entry for utt, entry in data.wav.items()}
    return result.sorted()


def perturb(source: Path, out: Path, speeds: dict[str, Fraction], allow_pipes: bool = False) -> bool:
    """Write the data directory `out` from `source`; False when it is there already."""
    inputs = digest(*(source / name for name in _TABLES if (source / name).exists()))
    key = {"stage": "perturb-speed", "speeds": list(speeds), "inputs": inputs}
    with locked_dir(out.parent):
        if is_done(out, key):
            return False
        data = DataDir.load(source, allow_pipes)
        data.validate()
        if (source / "utt2dur").exists():
            data.seconds = {utt: float(seconds) for utt, seconds in read_table(source / "utt2dur").items()}
        data.wav = {name: _from_anywhere(entry, source) for name, entry in data.wav.items()}
        with atomic_dir(out) as work:
            perturbed(data, speeds).write(work)
            _write_words(source, speeds, work)
            mark_done(work, key)
    return True


def _from_anywhere(entry: str, near: Path) -> str:
    """An entry of a wav.scp in `near` as another directory may have it."""
    if is_pipe(entry):
        return entry
    path = resolve(entry, near)
    return entry if path == Path.cwd() / entry else str(path)


def _write_words(source: Path, speeds: dict[str, Fraction], work: Path) -> None:
    """Words and their pronunciations, where alignment has some to choose from."""
    if not (source / "words").exists():
        return
    lines = [f"{utt} {words}" for utt, words in read_table(source / "words").items()]
    lines += [f"sp{name}-{line}" for name in speeds for line in lines]
    (work / "words").write_text("".join(f"{line}\n" for line in sorted(lines, key=str.encode)))
    shutil.copyfile(source / "lexiconp.txt", work / "lexiconp.txt")


def main() -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speeds", default="0.9 1.1", help='speeds beside 1 ("0.9 1.1")')
    parser.add_argument("--allow-pipes", action="store_true", help="let wav.scp entries be shell commands")
    parser.add_argument("source", type=Path, help="data directory")
    parser.add_argument("out", type=Path, help="data directory to write")
    args = parser.parse_args()
    made = perturb(args.source, args.out, read_speeds(args.speeds), args.allow_pipes)
    print(f"{args.out}: {args.source} at speeds 1 {args.speeds} {'written' if made else 'is up to date'}")


if __name__ == "__main__":
    run_main(main)
