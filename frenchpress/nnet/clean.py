"""What finished trainings can do without: `frenchpress clean exp` lists it, with `--delete` it is removed.

That is a teacher's posteriors (a run that learns from it makes them again, which takes minutes), and checkpoints. Runs
that are not finished, and models, are left alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from frenchpress.arguments import parse
from frenchpress.common import UserError, locked_dir, run_main
from frenchpress.nnet.checkpoint import BEST, CHECKPOINT, POSTERIORS
from frenchpress.nnet.model import FINAL

_WHY = {
    CHECKPOINT: "the training is finished",
    BEST: "the training is finished",
    POSTERIORS: "made again by the next run that learns from this one",
}


def leftovers(exp: Path) -> Iterator[tuple[Path, int, str]]:
    """(file or directory, bytes, why it can go) of every finished training in `exp` or below."""
    for stamp in sorted(exp.rglob(".done")):
        if (stamp.parent / FINAL).is_file():
            for name, why in _WHY.items():
                path = stamp.parent / name
                if path.exists():
                    yield path, size_of(path), why


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a directory."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def readable(size: int) -> str:
    """`0.9 GB`, `12.3 MB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def remove(path: Path) -> None:
    """Remove a leftover; UserError when a run is at work in its experiment."""
    with locked_dir(path.parent, patience=0):
        if not path.is_dir():
            path.unlink()
            return
        with locked_dir(path, patience=0):  # one that learns from this model may be writing there
            shutil.rmtree(path)


def main() -> None:
    """Command line."""
    args = parse("clean")
    if not args.place.is_dir():
        raise UserError(f"{args.place}: no such directory")
    total = 0
    for path, size, why in leftovers(args.place):
        if args.delete:
            remove(path)
        print(f"{readable(size):>9}  {path} ({why})")
        total += size
    if not total:
        print(f"{args.place}: nothing to remove")
    elif args.delete:
        print(f"{readable(total)} removed")
    else:
        print(f"{readable(total)} can be removed: frenchpress clean --delete {args.place}")


if __name__ == "__main__":
    run_main(main)
