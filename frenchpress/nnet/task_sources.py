"""Where a task comes from: our own directories, or those of a Kaldi s5 experiment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from frenchpress.common import UserError
from frenchpress.feats.unadapted import ADAPTED
from frenchpress.kaldi.scp import read_table

SPLITS = ("train", "dev", "test")
DISAMBIG = re.compile(r"#\d+$")
TIMIT_MAP = "phones.60-48-39.map"


@dataclass(frozen=True)
class Sources:
    """The directories a task is built from; `ali[split]` is None where a split may do without alignment.

    `features`: what they are, by its name in feats.unadapted.
    """

    name: str
    feats: dict[str, Path]
    text: dict[str, Path]
    ali: dict[str, Path | None]
    graph: Path
    lang: Path
    features: str = ADAPTED
    score_map: Path | None = None
    optional_tokens: Path | None = None

    def files(self) -> list[Path]:
        """Everything that the task depends on, for a digest."""
        places: list[Path | None] = [*self.feats.values(), *self.text.values(), *self.ali.values()]
        places += [self.graph / "HCLG.fst", self.graph / "words.txt", self.lang / "phones.txt"]
        places += [self.lang / "phones/silence.txt", self.score_map, self.optional_tokens]
        return [place for place in places if place is not None and place.exists()]


def own_sources(
    feats: Path, ali_prefix: str, graph: Path, lang: Path, features: str = ADAPTED, train: str = "train"
) -> Sources:
    """Directories by name: `feats`/{train,dev,test}, `ali_prefix`_{train,dev,test}, graph, lang.

    `train`: what the training set is called there.
    """
    names = {split: train if split == "train" else split for split in SPLITS}
    dirs = {split: _directory(feats / name, "features") for split, name in names.items()}
    return Sources(
        name=str(feats),
        feats=dirs,
        text={split: _file(dirs[split] / "text", "reference phones") for split in SPLITS},
        ali={split: _alignment(split, [f"{ali_prefix}_{name}"]) for split, name in names.items()},
        graph=_graph(graph),
        lang=_directory(lang, "phones.txt"),
        features=features,
        score_map=_first(lang / "score_map.txt"),
        optional_tokens=_first(lang / "optional_tokens.txt", lang.parent / "dict/optional_tokens.txt"),
    )


def kaldi_sources(s5: Path, lang: Path | None = None) -> Sources:
    """The same out of a Kaldi `s5` directory: data-fmllr-tri3, exp/tri3_ali*, exp/tri3/graph, data/lang*."""
    _directory(s5, "a Kaldi s5 directory (data-fmllr-tri3, exp/tri3_ali, exp/tri3/graph)")
    dirs = {split: _directory(s5 / "data-fmllr-tri3" / split, "fMLLR features") for split in SPLITS}
    text = {split: _first(s5 / "data" / split / "text", dirs[split] / "text") for split in SPLITS}
    for split, found in text.items():
        if found is None:
            raise UserError(f"{s5}/data/{split}/text: no such file, expected the reference transcripts")
    names = {split: [f"{s5}/exp/tri3_ali_{split}"] for split in SPLITS}
    names["train"].append(f"{s5}/exp/tri3_ali")
    langs = [s5 / "data" / name for name in ("lang_test_bg", "lang", "lang_test")]
    found = lang or next((place for place in langs if (place / "phones.txt").exists()), langs[0])
    return Sources(
        name=f"kaldi-s5 {s5.resolve().name}",
        feats=dirs,
        text={split: path for split, path in text.items() if path},
        ali={split: _alignment(split, names[split]) for split in SPLITS},
        graph=_graph(s5 / "exp/tri3/graph"),
        lang=_directory(found, "phones.txt"),
        score_map=_first(found / "score_map.txt", s5 / "conf" / TIMIT_MAP),
    )


def read_phones(lang: Path) -> list[str]:
    """Phone names in the order of their ids, 1 first; epsilon and disambiguation symbols left out."""
    table = {int(number): phone for phone, number in read_table(lang / "phones.txt").items()}
    phones = [p for _, p in sorted(table.items()) if p != "<eps>" and not DISAMBIG.match(p)]
    if [table.get(i + 1) for i in range(len(phones))] != phones:
        raise UserError(f"{lang}/phones.txt: phones are not numbered 1 to {len(phones)}")
    return phones


def _alignment(split: str, names: list[str]) -> Path | None:
    for name in map(Path, names):
        if name.is_dir() and any(name.glob("ali.*.gz")):
            return _file(name / "final.mdl", "the model of the alignment").parent
    if split == "test":
        return None  # only the frame accuracy on test needs it
    raise UserError(f"{names[0]}: no alignment (ali.*.gz and final.mdl) of the {split} set; align it with tri3 first")


def _graph(path: Path) -> Path:
    _file(path / "words.txt", "the words of the graph")
    return _file(path / "HCLG.fst", "a decoding graph").parent


def _file(path: Path, what: str) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: no such file, expected {what}")
    return path


def _directory(path: Path, what: str) -> Path:
    if not path.is_dir():
        raise UserError(f"{path}: no such directory, expected {what}")
    return path


def _first(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)
