"""Check data directories before anything is computed from them: tables, every audio file, transcripts.

    python -m frenchpress.kaldi.validate --nj 4 data/train data/dev data/test

All problems are printed, one line each; the first directory is the one that the others' phones are held against.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from frenchpress.common import UserError, run_main
from frenchpress.kaldi.datadir import DataDir, raise_problems
from frenchpress.kaldi.io import MatrixReader
from frenchpress.kaldi.recordings import Utterance, over_utterances

RATE = 16000
FRAMES_PER_PHONE = 3  # a state each: what the shortest phone takes
_TRAIN_HAS = "{}/{}; only what is trained can be recognised: move utterances with it there, or leave them out"
_WINDOW, _SHIFT = 0.025, 0.010


def audio_problems(
    data: DataDir, rate: int = RATE, nj: int = 1, allow_pipes: bool = False
) -> tuple[list[str], dict[str, int]]:
    """Decode every audio file: what is wrong (a line each), and the samples of each sound utterance.

    What segments are shorter than they say, since their recordings end before, is printed.
    """
    problems, samples, over = [], {}, {}
    for utt, result in over_utterances(partial(_measure, rate=rate), data, rate, nj, allow_pipes):
        if isinstance(result, UserError):
            problems.append(str(result))
            continue
        samples[utt], overshoot = result
        if overshoot > 0:
            over[utt] = overshoot
    if over:
        print(f"{data.path}/segments: {len(over)} end after their recordings, by up to {max(over.values()):.2f} s: cut")
    return list(dict.fromkeys(problems)), samples


def _measure(utterance: Utterance, samples: np.ndarray, whole: int, rate: int) -> tuple[int, float]:
    """Samples, and by how many seconds its recording of `whole` samples is too short for it."""
    return len(samples), utterance.part.overshoot(whole, rate) if utterance.part else 0.0


def length_problems(data: DataDir, samples: dict[str, int], rate: int = RATE) -> list[str]:
    """Utterances with fewer frames than their transcripts need, by the number of samples of each."""
    found = []
    window, shift = round(rate * _WINDOW), round(rate * _SHIFT)
    for utt, count in samples.items():
        frames = max(0, 1 + (count - window) // shift)
        needed = FRAMES_PER_PHONE * max(1, len(data.text.get(utt, ())))
        if frames < needed:
            found.append(
                f"{data.where('segments' if data.segments else 'wav.scp', utt)}: {frames} frames are too short for "
                "the transcript of "
                f"{len(data.text.get(utt, ()))} phones, which needs {needed}"
            )
    return found


def phone_problems(data: DataDir, known: Collection[str], source: str) -> list[str]:
    """Transcript phones that are not in `known` (which `source` names), a line for each with its first place."""
    times = Counter(phone for phones in data.text.values() for phone in phones if phone not in known)
    first: dict[str, str] = {}
    for utt, phones in data.text.items():
        for phone in times.keys() & set(phones):
            first.setdefault(phone, utt)
    return [
        f"{data.where(data.text_name, first[phone])}: unknown phone {phone!r} ({_times(count)}), not in {source}"
        for phone, count in times.items()
    ]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def split_problems(splits: Sequence[DataDir]) -> list[str]:
    """Utterances that are in two splits."""
    found = []
    seen: dict[str, DataDir] = {}
    for data in splits:
        for utt in data.utt2spk:
            if utt in seen:
                found.append(f"{data.where('utt2spk', utt)} is in {seen[utt].path} as well; every id may come once")
            seen.setdefault(utt, data)
    return found


def shared_speakers(splits: Sequence[DataDir]) -> list[str]:
    """Warnings: speakers that are in two splits, so that a result is not one for new speakers."""
    found = []
    for index, first in enumerate(splits):
        for second in splits[index + 1 :]:
            both = sorted(set(first.spk2utt) & set(second.spk2utt))
            if both:
                names = " ".join(both[:5]) + (" ..." if len(both) > 5 else "")
                found.append(f"{len(both)} speakers are in both {first.path} and {second.path}: {names}")
    return found


def feature_problems(data: DataDir) -> list[str]:
    """What is wrong with feats.scp, if there is one: missing, truncated, NaN."""
    scp = data.path / "feats.scp"
    if not scp.exists():
        return []
    reader, found = MatrixReader(scp), []
    found += [f"{scp}: no features of {utt}" for utt in data.utt2spk if utt not in reader]
    for utt in reader:
        try:
            reader[utt]
        except UserError as error:
            found.append(str(error))
    return found


def check(
    splits: Sequence[DataDir],
    rate: int = RATE,
    nj: int = 1,
    allow_pipes: bool = False,
    phones: Collection[str] | None = None,
    stored: bool = True,
) -> list[dict[str, int]]:
    """Check all splits, the training set first; UserError after printing every problem but one to stderr.

    `phones`: the phones there may be; by default those of the first split's transcripts. `stored`: check features that
    are there, too. Returns the samples of each utterance, by split.
    """
    problems = split_problems(splits)
    source = "the dictionary" if phones is not None else _TRAIN_HAS.format(splits[0].path, splits[0].text_name)
    known = phones if phones is not None else {p for text in splits[0].text.values() for p in text}
    lengths = []
    for data in splits:
        problems += data.problems() + phone_problems(data, known, source)
        broken, samples = audio_problems(data, rate, nj, allow_pipes)
        problems += broken + length_problems(data, samples, rate) + (feature_problems(data) if stored else [])
        lengths.append(samples)
    for line in shared_speakers(splits):
        print(f"warning: {line}", file=sys.stderr)
    report(problems)
    return lengths


def report(problems: list[str]) -> None:
    """Print all problems but the first to stderr (at most 20) and raise the first as UserError."""
    for line in problems[1:21]:
        print(f"error: {line}", file=sys.stderr)
    raise_problems(problems)


def main() -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dirs", nargs="+", type=Path, metavar="DATADIR", help="training set first")
    parser.add_argument("--rate", type=int, default=RATE, help="sampling rate in Hz (16000)")
    parser.add_argument("--nj", type=int, default=1, help="processes")
    parser.add_argument("--allow-pipes", action="store_true", help="run wav.scp entries that are shell commands")
    args = parser.parse_args()
    splits = [DataDir.load(path, args.allow_pipes) for path in args.data_dirs]
    check(splits, args.rate, args.nj, args.allow_pipes)
    for data in splits:
        print(f"{data.path}: {len(data.utt2spk)} utterances of {len(data.spk2utt)} speakers, sound")


if __name__ == "__main__":
    run_main(main)
