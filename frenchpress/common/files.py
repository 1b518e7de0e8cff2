"""Files that are either whole or absent, and directories with one writer."""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import yaml

from frenchpress.common.errors import UserError

LOCK_PATIENCE = 10.0
"""Seconds that `locked_dir` waits for a holder: what is left of a killed run needs a moment to go."""


def read_lines(path: Path | str) -> list[str]:
    """Lines of a UTF-8 text file without their newlines; UserError if missing or not UTF-8.

    The byte order mark that some editors put before a text is no part of it.
    """
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8").replace("\n\ufeff", "\n").removeprefix("\ufeff").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a directory, expected a text file") from None
    except UnicodeDecodeError as error:
        utf16 = error.object[:2] in (b"\xff\xfe", b"\xfe\xff")
        hint = f"; convert it: iconv -f UTF-16 -t UTF-8 {path}" if utf16 else ""
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}){hint}") from None


def parse_yaml(parse: Callable[..., Any], text: str) -> Any:
    """`parse`, yaml.load or yaml.compose, of plain YAML, which names no Python objects; YAMLError where it is bad.

    By the parser in C where PyYAML has it, some ten times as fast. What it refuses is parsed again by the one in
    Python, whose words are the same on every machine; RecursionError from that for what is nested too deeply.
    """
    if yaml.__with_libyaml__:
        try:
            return parse(text, Loader=yaml.CSafeLoader)
        except (yaml.YAMLError, UnicodeEncodeError):
            pass
    return parse(text, Loader=yaml.SafeLoader)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """A YAML file of `key: value` lines; UserError for anything else."""
    text = "\n".join(read_lines(path))
    try:
        values = parse_yaml(yaml.load, text)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
    except (ValueError, LookupError, AttributeError):  # of tags that do not fit
        raise UserError(f"{path}: not plain YAML") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path}: expected YAML lines 'key: value'")
    return values


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write; it is moved onto `path` on success, removed on failure.

    The name keeps the suffix of `path`, since some writers choose a format by it. UserError where `path` is a
    directory.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a directory, expected the name of a file to write")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_if_changed(path: Path | str, text: str) -> None:
    """Write a whole UTF-8 text file, if that is not what is there."""
    path = Path(path)
    if not path.is_file() or path.read_bytes() != text.encode():
        with atomic_path(path) as temporary:
            temporary.write_text(text, "utf-8")


@contextmanager
def atomic_dir(path: Path | str) -> Iterator[Path]:
    """Yield an empty temporary sibling directory; it takes the place of `path` on success, goes on failure.

    What was left by processes that were killed is swept first. Of a link the directory is replaced that it points to.
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".tmp-*-{path.name}"):
        with _alone(leftover) as nobody_else:
            if nobody_else:
                shutil.rmtree(leftover, ignore_errors=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    temporary.mkdir()
    with _alone(temporary):
        yield from _replacing(path, temporary)


def _replacing(path: Path, temporary: Path) -> Iterator[Path]:
    try:
        yield temporary
        if path.exists():
            old = path.with_name(f".tmp-{os.getpid()}-old-{path.name}")
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _alone(directory: Path) -> Iterator[bool]:
    """Hold the lock of a directory itself, which a process that is killed lets go of; whether no other holds it."""
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # gone meanwhile
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError:  # a file system without such locks
            yield True
        else:
            yield True
    finally:
        os.close(handle)


@contextmanager
def locked_dir(path: Path | str, patience: float | None = None) -> Iterator[Path]:
    """Hold `path` (made if absent) for one process and those it forks; a killed holder lets go.

    UserError if another holds it for longer than `patience` seconds (`LOCK_PATIENCE`); that it waits is said on stderr.
    """
    path = Path(path)
    patience = LOCK_PATIENCE if patience is None else patience
    path.mkdir(parents=True, exist_ok=True)
    with open(path / ".lock", "a") as handle:
        if not _lock(handle):
            said = f"{path}: another run is writing here"
            at_most = "" if math.isinf(patience) else f" up to {patience:g} s"
            print(f"{said}; waiting{at_most} for it to end", file=sys.stderr)
            deadline = time.monotonic() + patience
            while not _lock(handle):
                if time.monotonic() > deadline:
                    raise UserError(f"{said}; wait for it or use another directory")
                time.sleep(0.1)
        yield path


def _lock(handle: TextIO) -> bool:
    """Whether the lock of the open file is ours now."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
