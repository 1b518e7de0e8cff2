"""What training takes from a lang directory: phone ids, topology, silence, and what the tree may ask and share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from frenchpress.common import UserError, read_lines
from frenchpress.gmm.corpus import read_symbols
from frenchpress.gmm.treebuild import Root
from frenchpress.kaldi.topology import HmmTopology, read_topology


@dataclass(frozen=True)
class PhoneSet:
    """Phones of a lang directory; `silence` is the optional one, `context_free` phones have no neighbours."""

    symbols: dict[str, int]
    topo: HmmTopology
    silence: int
    sets: list[list[int]]
    roots: list[Root]
    questions: list[frozenset[int]]
    context_free: frozenset[int]

    @classmethod
    def load(cls, lang: Path | str) -> PhoneSet:
        """Read phones.txt, topo and phones/*.int; UserError when a phone is in no set or root."""
        lang = Path(lang)
        lists = lang / "phones"
        topo = read_topology(lang / "topo")
        silence = [phone for row in _rows(lists / "optional_silence.int") for phone in row]
        if len(silence) != 1:
            raise UserError(f"{lists}/optional_silence.int: {len(silence)} phones, expected exactly one")
        found = cls(
            {symbol: k for symbol, k in read_symbols(lang / "phones.txt").items() if k in topo.phone_to_entry},
            topo,
            silence[0],
            _rows(lists / "sets.int"),
            [_root(line, lists / "roots.int") for line in read_lines(lists / "roots.int") if line.split()],
            [frozenset(row) for row in _optional_rows(lists / "extra_questions.int")],
            frozenset(phone for row in _optional_rows(lists / "context_indep.int") for phone in row),
        )
        found._check(lists)
        return found

    def _check(self, lists: Path) -> None:
        in_sets = [phone for row in self.sets for phone in row]
        in_roots = [phone for root in self.roots for phone in root.phones]
        for name, phones in (("sets", in_sets), ("roots", in_roots)):
            if sorted(phones) != self.topo.phones:
                raise UserError(f"{lists}/{name}.int: expected each phone of topo exactly once")


def _rows(path: Path) -> list[list[int]]:
    rows = [line.split() for line in read_lines(path)]
    for number, row in enumerate(rows, 1):
        if not all(field.isdigit() for field in row):
            raise UserError(f"{path}:{number}: expected phone ids, found {' '.join(row)!r}")
    return [[int(field) for field in row] for row in rows if row]


def _optional_rows(path: Path) -> list[list[int]]:
    return _rows(path) if path.exists() else []


def _root(line: str, path: Path) -> Root:
    shared, split, *phones = [*line.split(), "", ""]
    phones = [phone for phone in phones if phone]
    words = shared in ("shared", "not-shared") and split in ("split", "not-split")
    if not words or not phones or not all(phone.isdigit() for phone in phones):
        raise UserError(f"{path}: expected 'shared|not-shared split|not-split <phone ids>', found {line!r}")
    return Root(tuple(map(int, phones)), shared == "shared", split == "split")
