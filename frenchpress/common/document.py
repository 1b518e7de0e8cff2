"""Read a YAML file and all that its `base:` extends into one tree that remembers where each value came from."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from frenchpress.common.errors import UserError, nearest
from frenchpress.common.files import parse_yaml, read_lines

KeyPath = tuple[str, ...]

# YAML 1.1 wants a dot and a sign before it calls 1e-8 a number; people do not.
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_DEEPEST = 20


@dataclass
class Document:
    """Nested plain values, and for each key (as a path) the place to name in an error: `conf/x.cfg:12`."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)

    def origin(self, path: KeyPath) -> str:
        """Place of `path`, or of the nearest key above it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return "configuration"

    def section(self, *path: str) -> Document:
        """What stands under `path`, if anything, as a document of its own that still knows the places of its keys."""
        values: Any = self.values
        for key in path:
            values = values.get(key, {})
        below = {p[len(path) :]: o for p, o in self.origins.items() if p[: len(path)] == path and len(p) > len(path)}
        return Document(values, below)

    def overlay(self, other: Document) -> None:
        """Merge `other` over this, key by key; lists, numbers and null replace what was there."""
        _merge(self.values, other.values)
        for path, place in other.origins.items():  # in the order in which they were said last
            self.origins.pop(path, None)
            self.origins[path] = place


def _merge(under: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(under.get(key), dict):
            _merge(under[key], value)
        else:
            under[key] = copy.deepcopy(value)  # what is merged over it next must not change `over`


def read_document(path: Path | str) -> Document:
    """The file at `path` over the file that its `base:` names, over that one's base, and so on.

    UserError for a missing or unreadable file, a duplicate key, a `base:` that comes round to itself.
    """
    chain: list[Path] = []
    layers: list[Document] = []
    following: Path | None = Path(path)
    while following is not None:
        if following.resolve() in [p.resolve() for p in chain]:
            circle = " -> ".join(str(p) for p in [*chain, following])
            raise UserError(f"{layers[-1].origin(('base',))}: base: circular: {circle}")
        chain.append(following)
        layers.append(read_one(following))
        following = _base_of(layers[-1], following)
    document = Document()
    for layer in reversed(layers):
        layer.values.pop("base", None)
        document.overlay(layer)
    document.origins[()] = str(path)
    return document


def _base_of(layer: Document, path: Path) -> Path | None:
    base = layer.values.get("base")
    if base is None:
        return None
    where = layer.origin(("base",))
    if not isinstance(base, str):
        raise UserError(f"{where}: base: expected the name of a {path.suffix} file, got {base!r}")
    found = path.parent / base
    if not found.is_file():
        # Without the endings, by which all of them are alike.
        stems = sorted(other.stem for other in path.parent.glob(f"*{path.suffix}"))
        seen = f"no file {found} (names are seen from {path.parent}, with {path.suffix})"
        raise UserError(f"{where}: base: {seen}{nearest(found.stem, stems)}")
    return found


def read_one(path: Path) -> Document:
    """The file at `path` alone; in it `base` is a key like any other."""
    text = "\n".join(read_lines(path)) + "\n"
    document = Document(origins={(): str(path)})
    root = _compose(text, str(path))
    if root is None:
        return document
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}:{root.start_mark.line + 1}: expected `key: value` lines")
    document.values = _convert(root, (), str(path), document.origins)
    return document


def parse_override(text: str) -> Document:
    """`train.epochs=2`, as given to `--set`, as a document; the value is read as YAML."""
    where = f"--set {text}"
    key, equals, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise UserError(f"{where}: write it as --set section.key=value")
    document = Document(origins={path[:n]: where for n in range(1, len(path) + 1)})
    node = _compose(value, where)
    tree: Any = None if node is None else _convert(node, path, where, document.origins, numbered=False)
    for part in reversed(path):
        tree = {part: tree}
    document.values = tree
    return document


def _compose(text: str, where: str) -> yaml.Node | None:
    try:
        return parse_yaml(yaml.compose, text)
    except RecursionError:
        raise UserError(f"{where}: nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        if getattr(error, "context", None) == "while scanning an alias" or "undefined alias" in problem:
            problem = "a name that begins with * needs quotes"
        raise UserError(f"{where}{f':{mark.line + 1}' if mark else ''}: not YAML: {problem}") from None


def _convert(node: yaml.Node, path: KeyPath, where: str, origins: dict[KeyPath, str], numbered: bool = True) -> Any:
    """Plain Python value of a YAML node; notes the origin of every key in `origins`."""
    place = f"{where}:{node.start_mark.line + 1}" if numbered else where
    if len(path) > _DEEPEST:
        raise UserError(f"{place}: {'.'.join(path[:3])}...: nested too deeply")
    if isinstance(node, yaml.MappingNode):
        return _convert_mapping(node, path, where, origins, numbered)
    if isinstance(node, yaml.SequenceNode):
        return [_convert(item, (*path, "[]"), where, {}, numbered) for item in node.value]
    if not node.style and _EXPONENT.fullmatch(node.value):
        return float(node.value)
    try:
        return SafeConstructor().construct_object(node)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, OverflowError):  # of tags that do not fit
        raise UserError(f"{place}: {'.'.join(path)}: cannot read {node.value!r}") from None


def _convert_mapping(
    node: yaml.MappingNode, path: KeyPath, where: str, origins: dict[KeyPath, str], numbered: bool
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    first_line: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        place = f"{where}:{line}" if numbered else where
        if not isinstance(key_node, yaml.ScalarNode):
            raise UserError(f"{place}: a key must be a plain word")
        key = key_node.value
        here = (*path, key)
        if key in values:
            again = f"first on line {first_line[key]}" if numbered else "given twice"
            raise UserError(f"{place}: duplicate key {'.'.join(here)} ({again})")
        first_line[key] = line
        origins[here] = place
        values[key] = _convert(value_node, here, where, origins, numbered)
    return values
