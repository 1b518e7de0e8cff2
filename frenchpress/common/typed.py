"""Turn a tree of plain values into the dataclasses of a schema, refusing what does not fit."""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from fractions import Fraction
from typing import Any, Literal

from frenchpress.common.document import Document, KeyPath
from frenchpress.common.errors import UserError, nearest

_hints = functools.cache(typing.get_type_hints)  # of the schema's classes, asked for at every section of every file
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", list: "a list"}


def ranged(default: Any, low: float | None = None, high: float | None = None, above: float | None = None) -> Any:
    """A dataclass field whose value (or each of its values) lies in [low, high], or above `above`."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "above": above})


def fill(kind: type, values: Any, document: Document, path: KeyPath = ()) -> Any:
    """An instance of dataclass `kind` from the mapping `values`; keys left out keep their defaults.

    UserError, with file, line and key: an unknown key (the nearest legal one is suggested, or what `kind.belongs_to`
    says of it), a wrong type, a value out of range, or what the dataclass itself refuses.
    """
    if not isinstance(values, dict):
        keys = ", ".join(f.name for f in dataclasses.fields(kind) if f.init)
        raise _refuse(document, path, f"expected a section with the keys {keys}, got {_show(values)}")
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init}
    hints = _hints(kind)
    given: dict[str, Any] = {}
    for key, value in values.items():
        here = (*path, key)
        if key not in fields:
            elsewhere = kind.belongs_to(key) if hasattr(kind, "belongs_to") else ""
            near = f"; it is one of {elsewhere}" if elsewhere else nearest(key, fields, "the keys here are")
            raise _refuse(document, here, f"unknown key{near}")
        given[key] = _convert(hints[key], value, document, here)
        problem = out_of_range(fields[key], given[key])
        if problem:
            raise _refuse(document, here, problem)
    try:
        return kind(**given)
    except UserError as error:
        raise blame(document, path, str(error)) from None


def blame(document: Document, path: KeyPath, message: str) -> UserError:
    """The error of what stands under `path`, whose `message` begins with the key complained of (`hcgs.keep: ...`).

    It names place and key in full, and where keys beside it that the message speaks of come from, if from another file.
    A word in the message that is no key, such as a method's name, is left out where a key follows it.
    """
    words, values = message.split(": "), document.section(*path).values
    while len(words) > 1:
        found = _below(values, words[0], path)
        # Some methods are called as one of their keys is.
        method = isinstance(values, dict) and values.get("method") == words[0]
        if method and len(words) > 2 and _below(values, words[1], path) is not None:
            words = words[1:]
            continue
        if found is None and (" " in words[0] or len(words) == 2 or _below(values, words[1], path) is None):
            break
        if found is not None:
            path, values = found
        words = words[1:]
    problem = ": ".join(words)
    return _refuse(document, path, problem + _said_elsewhere(document, path, problem))


def _said_elsewhere(document: Document, path: KeyPath, problem: str) -> str:
    """` (context: conf/x.cfg:3)`, of keys beside `path` that `problem` speaks of and another file says."""
    file = _file_of(document.origin(path))
    places = [
        f"{other[-1]}: {place}"
        for other, place in document.origins.items()
        if other and other[:-1] == path[:-1] and _file_of(place) != file and _speaks_of(problem, other[-1])
    ]
    return f" ({', '.join(places)})" if places else ""


def _file_of(place: str) -> str:
    return place.rpartition(":")[0]


def _speaks_of(problem: str, key: str) -> bool:
    return re.search(rf"\b{re.escape(key)}\b", problem) is not None


def _below(values: Any, word: str, path: KeyPath) -> tuple[KeyPath, Any] | None:
    """Path and value of what `word` (`hcgs.keep`) names in `values`, which stand under `path`, or at its end itself."""
    for key in word.split("."):
        if isinstance(values, dict) and key in values:
            path, values = (*path, key), values[key]
        elif path[-1:] != (key,):
            return None
    return path, values


def _show(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"{str(value).lower()} (true or false)"
    if isinstance(value, dict):
        return "a section"
    return f"the list {value!r}" if isinstance(value, list) else repr(value)


def _refuse(document: Document, path: KeyPath, problem: str) -> UserError:
    name = ".".join(path)
    return UserError(f"{document.origin(path)}: {name + ': ' if name else ''}{problem}")


def _convert(hint: Any, value: Any, document: Document, path: KeyPath) -> Any:
    """`value` as the type that `hint` says."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = [a for a in arguments if a is not type(None)]
        if value is None and len(kinds) < len(arguments):
            return None
        form = {list: tuple, dict: dict}.get(type(value))
        fitting = [a for a in kinds if form and typing.get_origin(a) is form]
        return _convert((fitting or kinds)[0], value, document, path)
    if dataclasses.is_dataclass(hint):
        return fill(hint, value, document, path)
    if origin is dict:
        return _convert_dict(arguments[1], value, document, path)
    if origin is tuple:
        return _convert_tuple(arguments, value, document, path)
    if origin is Literal:
        if value in arguments and not isinstance(value, bool):
            return value
        raise _refuse(document, path, f"expected {' or '.join(map(str, arguments))}, got {_show(value)}")
    if hint is Any:  # options of a method, which checks them itself
        return value
    if hint is Fraction:
        return _convert_fraction(value, document, path)
    return _convert_scalar(hint, value, document, path)


def _convert_fraction(value: Any, document: Document, path: KeyPath) -> Fraction:
    try:
        return parse_fraction(value)
    except UserError as error:
        raise blame(document, path, str(error)) from None


def _convert_scalar(hint: type, value: Any, document: Document, path: KeyPath) -> Any:
    # bool is an int to Python; to the reader of a .cfg it is not.
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**1023:
        return float(value)
    if isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    raise _refuse(document, path, f"expected {_NAMES[hint]}, got {_show(value)}")


def _convert_dict(item: Any, value: Any, document: Document, path: KeyPath) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refuse(document, path, f"expected a section, got {_show(value)}")
    return {key: _convert(item, entry, document, (*path, key)) for key, entry in value.items()}


def _convert_tuple(arguments: Any, value: Any, document: Document, path: KeyPath) -> tuple[Any, ...]:
    variable = len(arguments) == 2 and arguments[1] is Ellipsis
    if not isinstance(value, list) or not value or not (variable or len(value) == len(arguments)):
        wanted = "a list of one or more" if variable else f"a list of {len(arguments)}"
        raise _refuse(document, path, f"expected {wanted}, got {_show(value)}")
    return tuple(_convert(arguments[0], item, document, path) for item in value)


def out_of_range(spec: dataclasses.Field[Any], value: Any) -> str | None:
    """What is wrong and would be right where `value` (or one of its values) is out of range, else None."""
    low, high, above = (spec.metadata.get(name) for name in ("low", "high", "above"))
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, (bool, str)) or not isinstance(number, (int, float)):
            continue
        # Written so that nan fails every comparison and is refused too.
        good = (low is None or number >= low) and (high is None or number <= high)
        if not (good and (above is None or number > above) and abs(number) != float("inf")):
            bounds = (("at least", low), ("above", above), ("at most", high))
            legal = " and ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)
            return f"{number} is out of range; it must be {legal}"
    return None


def read_fraction(text: str) -> Fraction:
    """`4/16` or `0.25`; ValueError for anything else, powers of ten too: 1e999999999 would take all memory."""
    if not re.fullmatch(r"-?[0-9./]{1,40}", text):
        raise ValueError(f"{text!r} is no fraction")
    return Fraction(text)


def parse_fraction(value: Fraction | float | int | str, what: str = "keep") -> Fraction:
    """Read a kept fraction, `"4/16"`, `0.25`, `1` or a Fraction; UserError unless 0 < value <= 1."""
    try:
        if isinstance(value, bool):
            raise TypeError
        if isinstance(value, str):
            fraction = read_fraction(value)
        else:  # a float is read as the decimal that it prints as: 0.1 is one tenth, not its nearest binary fraction
            fraction = Fraction(str(value) if isinstance(value, float) else value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        raise UserError(f"{what}: {value!r} is not a fraction; write 4/16 or 0.25") from None
    if not 0 < fraction <= 1:
        raise UserError(f"{what}: {value} is out of range; it must be above 0 and at most 1")
    return fraction
