"""How much speech there is, of whom, and which phones: what stage 0 has found, in a few lines.

    python -m frenchpress.kaldi.summary data

With --leaves and --gauss it also checks that so many tied states and Gaussians can be had.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from frenchpress.common import UserError, read_lines, run_main
from frenchpress.kaldi.scp import read_table

_STRESSED = re.compile(r"([A-Za-z]+)[0-9]")


def describe(data: Path) -> list[str]:
    """Lines about train, dev, test and the dictionary of a directory that stage 0 has made."""
    lines = [_split_line(data / name) for name in ("train", "dev", "test") if (data / name / "utt2spk").exists()]
    silence, phones = _phones(data)
    optional = float(" ".join(read_lines(data / "dict/sil_prob"))) > 0
    lines.append(f"{data}/dict: {len(phones)} phones: {' '.join(phones)}")
    lines.append(f"{data}/dict: silence {silence}, {'optional everywhere' if optional else 'as transcribed'}")
    scored = read_table(data / "dict/score_map.txt")
    if any(scored.get(phone) != phone for phone in phones):
        classes = sorted({target for target in scored.values() if target}, key=str.encode)
        lines.append(f"{data}/dict: scored as {len(classes)}: {' '.join(classes)}")
    stressed = [match[1] for phone in phones if (match := _STRESSED.fullmatch(phone))]
    if len(stressed) > 1.5 * len(set(stressed)):
        lines.append(
            f"{data}/dict: {len(stressed)} phones end in a digit (stress or tone) and are phones of their own; "
            "--score-map FILE with lines such as 'AH0 AH' scores them together"
        )
    return lines


def check_sizes(data: Path, leaves: int, gauss: int) -> None:
    """UserError when there are fewer tied states than phones, or fewer Gaussians than tied states."""
    silence, phones = _phones(data)
    if leaves < len(phones) + 1:
        raise UserError(
            f"--leaves is {leaves}, but {data}/dict has {len(phones)} phones and {silence}, each of which has a "
            f"decision tree of its own; expected {len(phones) + 1} or more"
        )
    if gauss < leaves:
        raise UserError(f"--gauss is {gauss}, expected at least one per leaf: {leaves}")


def _phones(data: Path) -> tuple[str, list[str]]:
    """Silence, and the others."""
    silence = " ".join(read_lines(data / "dict/silence_phones.txt"))
    return silence, [line.strip() for line in read_lines(data / "dict/nonsilence_phones.txt") if line.strip()]


def _split_line(place: Path) -> str:
    speakers = read_table(place / "utt2spk")
    count = len(set(speakers.values()))
    line = f"{place}: {len(speakers)} utterances of {count} speaker{'s' * (count > 1)}"
    if (place / "utt2dur").exists():
        seconds = sum(float(value) for value in read_table(place / "utt2dur").values())
        line += f", {seconds / 3600:.2f} h" if seconds >= 360 else f", {seconds / 60:.1f} min"
    return line


def main() -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="directory of train, dev, test and dict")
    parser.add_argument("--leaves", type=int, help="tied states to be trained")
    parser.add_argument("--gauss", type=int, help="Gaussians to be trained")
    args = parser.parse_args()
    print("\n".join(describe(args.data)))
    if args.leaves is not None and args.gauss is not None:
        check_sizes(args.data, args.leaves, args.gauss)


if __name__ == "__main__":
    run_main(main)
