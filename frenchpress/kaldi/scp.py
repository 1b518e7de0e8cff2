"""Tables of the Kaldi kind (`key value...` per line) and what their entries point to."""

from __future__ import annotations

import gzip
import io
import re
import subprocess
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from frenchpress.common import UserError, read_lines

_ENTRY = re.compile(r"(?P<name>.*?)(?P<offset>:\d+)?(?P<span>\[[\d:, ]*\])?$")
_CONTROL = re.compile(r"[\0-\x08\x0e-\x1b\x7f]")  # what no text has, and a terminal would act on
_OVER = 3  # rows that a range may end beyond the last one, as Kaldi allows


def read_table(path: Path | str) -> dict[str, str]:
    """`key rest-of-line` per line -> {key: rest}; a key that comes twice is an error."""
    table: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        parts = line.strip().split(None, 1)
        if not parts:
            continue
        key = parts[0]
        if "Cf" in (unicodedata.category(key[0]), unicodedata.category(key[-1])):
            raise UserError(f"{path}:{number}: {ascii(key)} begins or ends with an invisible character; take it out")
        control = _CONTROL.search(line)
        if control:
            found, place = ascii(control[0]), control.start() + 1
            raise UserError(f"{path}:{number}: {found} at character {place}; take it out, or is it no text?")
        if key in table:
            raise UserError(f"{path}:{number}: {key} is there twice; every id may come once")
        table[key] = parts[1] if len(parts) > 1 else ""
    return table


def is_pipe(entry: str) -> bool:
    """True for an entry that a shell would have to run."""
    entry = entry.strip()
    return entry.endswith("|") or entry.startswith("|")


def no_pipe(entry: str, allow_pipes: bool | None) -> str:
    """Why a pipe is refused. `allow_pipes`: whether it may run; None where no option of the program allows it."""
    advice = "only files are read here" if allow_pipes is None else "give a file, or --allow-pipes to run it"
    return f"is a shell command ({entry[:40]!r}); {advice}"


def read_scp(path: Path | str, allow_pipes: bool | None = None) -> dict[str, str]:
    """A script file: {utterance: what `parse_entry` takes, or command |}. Pipes are refused unless allowed."""
    table = read_table(path)
    for key, entry in table.items():
        if not entry:
            raise UserError(f"{path}: {key} has no file behind it; expected '{key} <file>'")
        if is_pipe(entry) and not allow_pipes:
            raise UserError(f"{path}: {key} {no_pipe(entry, allow_pipes)}")
    return table


def resolve(entry: str, near: Path) -> Path:
    """The file that `entry` names: as it is if absolute, else relative to the directory `near`, to one of its
    parents (nearest first), or to the current directory. UserError when it is in none of them.
    """
    path = Path(entry)
    if any(len(part) > 255 for part in path.parts):
        raise UserError(f"{entry[:60]!r}...: no such file; is it a command that lacks the | at its end?")
    if path.is_absolute():
        if path.exists():
            return path
        raise UserError(f"{path}: no such file")
    start = near.resolve()
    for base in (start, *start.parents, Path.cwd()):
        if (base / path).exists():
            return base / path
    raise UserError(f"{entry}: no such file in {near}, in a directory above it, or in the current directory")


@dataclass(frozen=True)
class Entry:
    """A file, the byte in it where to begin, and which rows and columns to take (`[0:99]`, `[:,0:12]`, or nothing)."""

    name: str
    offset: int = 0
    span: str = ""

    def cut(self, matrix: np.ndarray) -> np.ndarray:
        """The rows and columns of a matrix or vector that the entry asks for, the last ones included."""
        parts = self.span.strip("[]").replace(" ", "").split(",") if self.span else []
        if len(parts) > matrix.ndim:
            raise UserError(f"{self.span}: {len(parts)} ranges of an array of {matrix.ndim} dimensions")
        for axis, part in enumerate(parts):
            first, last = _range(part, self.span, matrix.shape[axis])
            matrix = matrix[first : last + 1] if axis == 0 else matrix[:, first : last + 1]
        return matrix


def _range(part: str, span: str, size: int) -> tuple[int, int]:
    """First and last of `3:7`, or all."""
    if part in ("", ":"):
        return 0, size - 1
    match = re.fullmatch(r"(\d+):(\d+)", part)
    if match is None:
        raise UserError(f"{span}: expected a range such as [0:99] or [0:99,0:12]")
    first, last = int(match[1]), int(match[2])
    if first > last or first >= size or last >= size + _OVER:
        raise UserError(f"{span}: {first} to {last} of {size}, which are numbered 0 to {size - 1}")
    return first, min(last, size - 1)


def parse_entry(entry: str) -> Entry:
    """`file`, `file:offset`, either with `[first:last]` or `[first:last,first:last]` behind it."""
    match = _ENTRY.match(entry.strip())
    assert match is not None  # it matches anything
    return Entry(match["name"], int((match["offset"] or ":0")[1:]), match["span"] or "")


def open_entry(entry: str, near: Path, allow_pipes: bool | None = None) -> BinaryIO:
    """Open what an entry names, at its offset (gzipped: of what is in it). A pipe, if allowed, is run."""
    if is_pipe(entry):
        if not allow_pipes:
            raise UserError(no_pipe(entry, allow_pipes))
        return run_pipe(entry)
    found = parse_entry(entry)
    path = resolve(found.name, near)
    handle = gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")  # noqa: SIM115 - the caller closes it
    handle.seek(found.offset)
    return handle


def run_pipe(entry: str) -> BinaryIO:
    """Run a trusted `command |` in a shell and return its output; UserError when it fails or says nothing."""
    command = entry.strip()
    if not command.endswith("|"):
        raise UserError(f"{entry[:60]!r}: only 'command |' can be read from")
    done = subprocess.run(command[:-1], shell=True, capture_output=True, check=False)
    if done.returncode or not done.stdout:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no output"]
        raise UserError(f"command {command[:60]!r} failed with code {done.returncode}: {last[0][:100]}")
    return io.BytesIO(done.stdout)
