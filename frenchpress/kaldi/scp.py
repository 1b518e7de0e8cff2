"""Tables of the Kaldi kind (`key value...` per line) and what their entries point to."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path
from typing import BinaryIO

from frenchpress.common import UserError, read_lines

_OFFSET = re.compile(r"(.*):(\d+)$")


def read_table(path: Path | str) -> dict[str, str]:
    """`key rest-of-line` per line -> {key: rest}; a key that comes twice is an error."""
    table: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        parts = line.strip().split(None, 1)
        if not parts:
            continue
        key = parts[0]
        if key in table:
            raise UserError(f"{path}:{number}: {key} is there twice; every id may come once")
        table[key] = parts[1] if len(parts) > 1 else ""
    return table


def is_pipe(entry: str) -> bool:
    """True for an entry that a shell would have to run."""
    entry = entry.strip()
    return entry.endswith("|") or entry.startswith("|")


def read_scp(path: Path | str, allow_pipes: bool = False) -> dict[str, str]:
    """A script file: {utterance: file, file:offset, or command |}. Pipes are refused unless allowed."""
    table = read_table(path)
    for key, entry in table.items():
        if not entry:
            raise UserError(f"{path}: {key} has no file behind it; expected '{key} <file>'")
        if is_pipe(entry) and not allow_pipes:
            raise UserError(
                f"{path}: {key} is a shell command ({entry[:40]!r}); give a file, or --allow-pipes to run it"
            )
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


def split_offset(entry: str) -> tuple[str, int]:
    """`file:offset` -> (file, offset); without an offset 0."""
    match = _OFFSET.match(entry)
    return (match[1], int(match[2])) if match else (entry, 0)


def open_entry(entry: str, near: Path, allow_pipes: bool = False) -> BinaryIO:
    """Open what an entry names, at its offset. A pipe, if allowed, is run and its output returned."""
    if is_pipe(entry):
        if not allow_pipes:
            raise UserError(f"{entry[:60]!r} is a shell command; give a file, or --allow-pipes to run it")
        return run_pipe(entry)
    name, offset = split_offset(entry)
    handle = open(resolve(name, near), "rb")  # noqa: SIM115 - the caller closes it
    handle.seek(offset)
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
