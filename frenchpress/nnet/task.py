"""A task: what an acoustic model is trained on and decoded with, and nothing else.

    {train,dev,test}/   feats.scp feats.ark utt2spk text, and per frame pdf.ark (tied state), phone.ark (phone, 0..P-1)
    graph/              HCLG.fst (input label = tied state + 1, 0 = none; output label = word), words.txt
    score_map.txt, optional_tokens, meta.yaml; not_scored in place of the first two where words are scored

It is built from our own stages, or from a Kaldi s5 directory:

    python -m frenchpress.nnet.task --feats data/fmllr-tri3 --ali-prefix exp/tri3_ali --graph exp/tri3/graph \\
        --lang data/lang --out exp/task
    python -m frenchpress.nnet.task --kaldi-s5 egs/timit/s5 --out exp/task
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from frenchpress.common import UserError, read_yaml, run_main
from frenchpress.feats.unadapted import ADAPTED, MADE_OF
from frenchpress.kaldi.io import IntVectorReader, MatrixReader
from frenchpress.kaldi.scp import read_table
from frenchpress.nnet.task_build import build
from frenchpress.nnet.task_scoring import NOT_SCORED
from frenchpress.nnet.task_sources import SPLITS, kaldi_sources, own_sources
from frenchpress.score.scoring import Scoring
from frenchpress.score.transcripts import read_tokens
from frenchpress.score.unit import PHONE, UNITS, WORD, Unit

_META = ("num_pdfs", "num_phones", "feat_dim", "phones", "pdf_counts", "source")


class TaskSplit:
    """One of train, dev, test. Files are read when first asked for; features utterance by utterance."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def reader(self) -> MatrixReader:
        """Utterance -> features float32 [T, D]."""
        return MatrixReader(self.path / "feats.scp")

    @property
    def utts(self) -> list[str]:
        """All utterances in order; in dev and test maybe some without alignment."""
        return list(self.reader)

    @property
    def aligned(self) -> list[str]:
        """Utterances with frame targets, in order."""
        return [utt for utt in self.reader if utt in self.pdfs]

    @cached_property
    def pdfs(self) -> IntVectorReader:
        """Utterance -> tied state per frame, int32 [T]."""
        return IntVectorReader(self.path / "pdf.ark")

    @cached_property
    def phones(self) -> IntVectorReader:
        """Utterance -> phone index (0..P-1) per frame, int32 [T]."""
        return IntVectorReader(self.path / "phone.ark")

    @cached_property
    def text(self) -> dict[str, list[str]]:
        """Utterance -> reference phones or words, before the score map."""
        return {utt: line.split() for utt, line in read_table(self.path / "text").items()}

    @cached_property
    def utt2spk(self) -> dict[str, str]:
        """Utterance -> speaker."""
        return read_table(self.path / "utt2spk")

    def feats(self, utt: str) -> np.ndarray:
        """Features float32 [T, D] of an utterance."""
        return self.reader[utt]

    def __iter__(self) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
        """(utterance, features float32 [T, D], tied states int32 [T], phones int32 [T]) of the aligned ones."""
        return ((utt, *self.frames(utt)) for utt in self.aligned)

    def frames(self, utt: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features float32 [T, D], tied states int32 [T], phones int32 [T] of an aligned utterance."""
        feats, pdfs, phones = self.feats(utt), self.pdfs[utt], self.phones.get(utt)
        if phones is None or not len(feats) == len(pdfs) == len(phones):
            raise UserError(f"{self.path}: {utt}: features, pdf.ark and phone.ark differ in length")
        return feats, pdfs, phones

    def __len__(self) -> int:
        return len(self.reader)


@dataclass(frozen=True)
class Task:
    """A task directory. `pdf_counts`: int64 [num_pdfs], frames of the training set per tied state.

    `features`: fmllr, lda or fbank (feats.unadapted). `unit`: what is scored.
    """

    path: Path
    num_pdfs: int
    num_phones: int
    feat_dim: int
    phones: list[str]
    pdf_counts: np.ndarray
    source: str
    features: str = ADAPTED
    unit: Unit = PHONE

    @classmethod
    def of(cls, experiment: Path, given: Path | None) -> Task:
        """The task `given`, else the one that `experiment`, which is trained, has noted in its train.yaml."""
        if given is not None:
            return cls.load(given)
        path = experiment / "train.yaml"
        if not path.is_file():
            raise UserError(f"{path}: no such file; train the model first, or give --task DIR")
        noted = _values(path, ("task",))["task"]
        try:
            return cls.load(str(noted))
        except UserError as error:
            raise UserError(f"{path}: task: {error}, or give --task DIR") from None

    @classmethod
    def load(cls, path: Path | str) -> Task:
        """Open a task directory; UserError if it is not there or not whole."""
        path = Path(path)
        if not (path / "meta.yaml").is_file() or not (path / ".done").is_file():
            raise UserError(f"{path}: no finished task directory; stage 3 of run.sh makes it")
        meta = _values(path / "meta.yaml", _META)
        _check_meta(path / "meta.yaml", meta)
        counts = np.array(meta["pdf_counts"], np.int64)
        if len(counts) != meta["num_pdfs"] or len(meta["phones"]) != meta["num_phones"]:
            raise UserError(f"{path}/meta.yaml: its counts do not fit together; make the task again")
        fields = {name: meta[name] for name in ("num_pdfs", "num_phones", "feat_dim", "phones", "source")}
        unit = UNITS[meta.get("unit", PHONE.name)]
        return cls(path, pdf_counts=counts, features=meta.get("features", ADAPTED), unit=unit, **fields)

    @property
    def graph(self) -> Path:
        """Where HCLG.fst and words.txt are."""
        return self.path / "graph"

    @property
    def score_map(self) -> Path:
        """The file that says what each phone is scored as."""
        return self.path / "score_map.txt"

    @property
    def optional_tokens(self) -> Path:
        """The file of scored tokens whose omission is free."""
        return self.path / "optional_tokens"

    @cached_property
    def scoring(self) -> Scoring:
        """How what is recognised is compared with the references."""
        if self.unit is WORD:
            return Scoring(left_out=read_tokens(self.path / NOT_SCORED), unit=WORD)
        return Scoring.load(self.score_map, self.optional_tokens)

    def split(self, name: str) -> TaskSplit:
        """One of train, dev, test."""
        if name not in SPLITS or not (self.path / name).is_dir():
            raise UserError(f"{self.path}: no split {name!r}, expected one of {', '.join(SPLITS)}")
        return TaskSplit(self.path / name)


def _values(path: Path, wanted: tuple[str, ...]) -> dict[str, Any]:
    """A YAML file with at least the keys `wanted`."""
    values = read_yaml(path)
    missing = [name for name in wanted if name not in values]
    if missing:
        raise UserError(f"{path}: no {missing[0]}; make it again")
    return values


def _check_meta(path: Path, meta: dict[str, Any]) -> None:
    """UserError where a value is of another kind than those that a task is made with."""

    def is_count(value: Any, least: int = 1) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**63

    phones, counts = meta["phones"], meta["pdf_counts"]
    words = {"unit": (PHONE.name, UNITS), "features": (ADAPTED, MADE_OF)}
    wrong = {
        key: f"{meta[key]!r}, expected a number"
        for key in ("num_pdfs", "num_phones", "feat_dim")
        if not is_count(meta[key])
    }
    if not isinstance(phones, list) or not all(isinstance(phone, str) for phone in phones):
        wrong["phones"] = "expected a list of names"
    if not isinstance(counts, list) or not all(is_count(count, 0) for count in counts):
        wrong["pdf_counts"] = "expected a list of numbers of frames"
    if not isinstance(meta["source"], str):
        wrong["source"] = f"{meta['source']!r}, expected a directory"
    for key, (usual, known) in words.items():
        if meta.get(key, usual) not in list(known):
            wrong[key] = f"{meta[key]!r}, expected {' or '.join(known)}"
    for key, problem in wrong.items():
        raise UserError(f"{path}: {key}: {problem}; make the task again")


def main() -> None:
    """Command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kaldi-s5", type=Path, help="take everything from this Kaldi s5 directory")
    parser.add_argument("--feats", type=Path, help="parent of the feature directories train, dev, test")
    parser.add_argument("--features", choices=MADE_OF, default=ADAPTED, help="what these are (fmllr)")
    parser.add_argument("--train", default="train", help="name of the training set among these (train)")
    parser.add_argument("--ali-prefix", help="alignments are in PREFIX_train, PREFIX_dev, PREFIX_test")
    parser.add_argument("--graph", type=Path, help="directory of HCLG.fst and words.txt")
    parser.add_argument("--lang", type=Path, help="directory of phones.txt (with --kaldi-s5: data/lang_test_bg)")
    parser.add_argument("--score-map", type=Path, help="two columns: phone, scored as (alone: not scored)")
    parser.add_argument("--optional-tokens", type=Path, help="scored tokens whose omission is free, one per line")
    parser.add_argument("--allow-pipes", action="store_true", help="run entries of feats.scp that are shell commands")
    parser.add_argument("--out", type=Path, required=True, help="the task directory to write")
    args = parser.parse_args()
    if args.kaldi_s5:
        sources = kaldi_sources(args.kaldi_s5, args.lang)
    elif args.feats and args.ali_prefix and args.graph and args.lang:
        sources = own_sources(args.feats, args.ali_prefix, args.graph, args.lang, args.features, args.train)
    else:
        raise UserError("give --kaldi-s5, or all of --feats --ali-prefix --graph --lang")
    for name in ("score_map", "optional_tokens"):
        if path := getattr(args, name):
            sources = replace(sources, **{name: path})
    made = build(sources, args.out, args.allow_pipes)
    print(f"{args.out}: task {'written' if made else 'is up to date'}")


if __name__ == "__main__":
    run_main(main)
