"""Which entry of a table of names and patterns is meant for what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from frenchpress.common import did_you_mean

DEFAULT = "default"
"""The entry of all that no other one matches."""
_LISTED = 20


def entry_of(names: Sequence[str], entries: Iterable[str]) -> str:
    """The entry for what is called any of `names`: one of these, else a pattern that matches one, else `default`."""
    entries = list(entries)
    return next((name for name in names if name in entries), next(iter(_matching(names, entries)), DEFAULT))


def wrong_entry(
    things: Sequence[Sequence[str]], entries: Sequence[str], what: str, patterns: Sequence[str] = ()
) -> tuple[str, str] | None:
    """The first entry that cannot be meant, and why; None if all can.

    `things`: all names of each one that there is, the last as it is listed; `what` they are called, in the singular.
    `patterns` that a misspelt entry may have meant.
    """
    every = [name for names in things for name in names]
    for entry in entries:
        if entry != DEFAULT and not _matching(every, [entry]):
            listed = list(dict.fromkeys(names[-1] for names in things)) or ["none"]
            some = ", ".join([*listed[:_LISTED], *(["..."] if len(listed) > _LISTED else [])])
            return entry, f"matches no {what}{did_you_mean(entry, [*every, *patterns])}; the {what}s are {some}"
    for names in things:
        matching = _matching(names, entries)
        if len(matching) > 1 and not set(names) & set(entries):
            return matching[1], f"{' and '.join(matching)} both match {names[0]}; give {names[0]} its own entry"
    return None


def _matching(names: Sequence[str], entries: Iterable[str]) -> list[str]:
    return [entry for entry in entries if any(fnmatchcase(name, entry) for name in names)]
