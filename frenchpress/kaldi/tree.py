"""Phonetic decision trees (`tree`): from a phone, its neighbours and a state to a tied state (pdf)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from frenchpress.common import UserError
from frenchpress.kaldi.binary import BinaryReader, BinaryWriter

STATE_KEY = -1  # the question "which pdf class?"; keys 0.. ask for the phone at that place of the window


@dataclass(frozen=True)
class Constant:
    """A leaf: the pdf."""

    pdf: int


@dataclass(frozen=True)
class Split:
    """A question: is the value of `key` in `yes`?"""

    key: int
    yes: frozenset[int]
    yes_node: Node | None
    no_node: Node | None


@dataclass(frozen=True)
class Table:
    """One child per value of `key`; None where no value is expected."""

    key: int
    children: tuple[Node | None, ...]


Node = Constant | Split | Table


@dataclass(frozen=True)
class ContextTree:
    """A window of N phones with the central one at place P (N=3, P=1: triphone) and the root of the tree."""

    N: int
    P: int
    root: Node

    def pdf(self, window: tuple[int, ...], pdf_class: int) -> int:
        """The pdf of a phone window (length N, 0 beyond the utterance) and a pdf class."""
        node: Node | None = self.root
        while not isinstance(node, Constant):
            if node is None:
                raise UserError(f"tree has no leaf for phones {window}, pdf class {pdf_class}")
            value = pdf_class if node.key == STATE_KEY else window[node.key]
            node = _child(node, value)
        return node.pdf

    def pdfs(self, phone: int, pdf_class: int) -> set[int]:
        """All pdfs that a central phone and pdf class can get in any context."""
        return {leaf.pdf for leaf in _leaves(self.root, {self.P: phone, STATE_KEY: pdf_class})}

    @property
    def num_pdfs(self) -> int:
        """One more than the largest pdf."""
        return 1 + max(leaf.pdf for leaf in _leaves(self.root, {}))


def read_tree(path: Path | str) -> ContextTree:
    """Read Kaldi's binary `tree`."""
    reader = BinaryReader(path)
    reader.expect("ContextDependency")
    width, centre = reader.int32(), reader.int32()
    reader.expect("ToPdf")
    root = _read_node(reader)
    reader.expect("EndContextDependency")
    if root is None:
        raise UserError(f"{path}: the tree is empty")
    return ContextTree(width, centre, root)


def write_tree(path: Path | str, tree: ContextTree) -> None:
    """Write a tree as Kaldi's binary `tree`."""
    writer = BinaryWriter()
    writer.token("ContextDependency")
    writer.int32(tree.N)
    writer.int32(tree.P)
    writer.token("ToPdf")
    _write_node(writer, tree.root)
    writer.token("EndContextDependency")
    writer.save(path)


def _child(node: Split | Table, value: int) -> Node | None:
    if isinstance(node, Split):
        return node.yes_node if value in node.yes else node.no_node
    return node.children[value] if 0 <= value < len(node.children) else None


def _leaves(node: Node | None, known: dict[int, int]) -> Iterator[Constant]:
    """Leaves that can be reached when only the keys in `known` are fixed."""
    if node is None:
        return
    if isinstance(node, Constant):
        yield node
    elif node.key in known:
        yield from _leaves(_child(node, known[node.key]), known)
    else:
        children = (node.yes_node, node.no_node) if isinstance(node, Split) else node.children
        for child in children:
            yield from _leaves(child, known)


def _read_node(reader: BinaryReader) -> Node | None:
    kind = reader.expect("CE", "SE", "TE", "NULL")
    if kind == "NULL":
        return None
    if kind == "CE":
        return Constant(reader.int32())
    if kind == "SE":
        key, yes = reader.int32(), frozenset(reader.int_vector())
        reader.expect("{")
        children = _read_node(reader), _read_node(reader)
        reader.expect("}")
        return Split(key, yes, *children)
    key, size = reader.int32(), reader.uint32()
    reader.expect("(")
    table = tuple(_read_node(reader) for _ in range(size))
    reader.expect(")")
    return Table(key, table)


def _write_node(writer: BinaryWriter, node: Node | None) -> None:
    if node is None:
        writer.token("NULL")
    elif isinstance(node, Constant):
        writer.token("CE")
        writer.int32(node.pdf)
    elif isinstance(node, Split):
        writer.token("SE")
        writer.int32(node.key)
        writer.int_vector(sorted(node.yes))
        writer.token("{")
        _write_node(writer, node.yes_node)
        _write_node(writer, node.no_node)
        writer.token("}")
    else:
        writer.token("TE")
        writer.int32(node.key)
        writer.uint32(len(node.children))
        writer.token("(")
        for child in node.children:
            _write_node(writer, child)
        writer.token(")")
