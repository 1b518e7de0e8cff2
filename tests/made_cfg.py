"""Configurations that tests write."""

from pathlib import Path


def write_cfg(directory: Path, text: str, name: str = "x.cfg") -> Path:
    """A `.cfg` file with `text` in `directory`."""
    path = directory / name
    path.write_text(text)
    return path
