"""Stamps: a directory is done for a key, so that the same command skips what it has already made.

The key names everything the result depends on (options, and `digest` of the inputs). A stamp is written last,
so a directory with a matching stamp is whole; with another key, or none, its maker makes it again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from frenchpress.common.files import atomic_path

_NAME = ".done"


def digest(*paths: Path | str) -> str:
    """SHA-256 over files, in order; for a directory its stamp, or else all files directly in it."""
    total = hashlib.sha256()
    for path in map(Path, paths):
        if path.is_dir():
            stamp = path / _NAME
            files = [stamp] if stamp.exists() else sorted(p for p in path.iterdir() if p.is_file())
        else:
            files = [path]
        for file in files:
            total.update(file.name.encode() + b"\0")
            with open(file, "rb") as handle:
                total.update(hashlib.sha256(handle.read()).digest())
    return total.hexdigest()


def is_done(directory: Path | str, key: dict[str, Any]) -> bool:
    """True when `directory` carries a stamp for exactly this key."""
    stamp = Path(directory) / _NAME
    return stamp.exists() and stamp.read_text() == _text(key)


def mark_done(directory: Path | str, key: dict[str, Any]) -> None:
    """Stamp `directory` as whole for `key` (JSON-serialisable)."""
    with atomic_path(Path(directory) / _NAME) as temporary:
        temporary.write_text(_text(key))


def _text(key: dict[str, Any]) -> str:
    return json.dumps(key, sort_keys=True, indent=1) + "\n"
