"""The one exception that users are meant to read, and what it says of a misspelt word."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Bad input, said in one line: the file, the line or key, what is wrong and what would be right."""


@contextmanager
def blaming(what: object) -> Iterator[None]:
    """Let a UserError from inside begin with `what` it is about."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{what}: {error}") from None


def unknown(word: object, known: Iterable[str], what: str = "") -> str:
    """What is wrong with a `word` that is not in `known`: `unknown 'unifrom', did you mean 'uniform'? (known: ...)`."""
    known = list(known)
    return f"unknown {what}{word!r}{did_you_mean(word, known)} (known: {', '.join(known)})"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """`, did you mean 'uniform'?`, or nothing where no `known` word is near."""
    near = _near(word, known)
    return "" if near is None else f", did you mean {near!r}?"


def nearest(word: object, known: Iterable[str], listed: str = "there are") -> str:
    """`; did you mean epochs?`, or where no `known` word is near all of them after `listed`: `; the keys are a, b`."""
    known = list(known)
    near = _near(word, known)
    return f"; {listed} {', '.join(known)}" if near is None else f"; did you mean {near}?"


def _near(word: object, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.5)), None)
