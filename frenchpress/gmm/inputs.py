"""The arguments that training and alignment share, and what they stand for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frenchpress.common import UserError
from frenchpress.gmm.corpus import Corpus
from frenchpress.gmm.phoneset import PhoneSet
from frenchpress.gmm.stage import data_digest, lang_digest
from frenchpress.gmm.train import Aligner


@dataclass(frozen=True)
class Inputs:
    """The training set, the phones and how to align."""

    data: Path
    lang: Path
    sil_prob: float
    threads: int

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """DATA, LANG and the options that all training commands share."""
        parser.add_argument("--nj", type=int, default=1, help="threads; the result does not depend on it (1)")
        parser.add_argument("--sil-prob", type=float, default=0.0, help="of silence between phones and at the ends (0)")
        parser.add_argument("data", type=Path, help="training set with features and text")
        parser.add_argument("lang", type=Path, help="lang directory")

    @classmethod
    def of(cls, args: argparse.Namespace) -> Inputs:
        """From parsed arguments; UserError for a probability or a number of threads that cannot be."""
        if not 0 <= args.sil_prob < 1:
            raise UserError(f"--sil-prob is {args.sil_prob}, expected at least 0 and below 1")
        if args.nj < 1:
            raise UserError(f"--nj is {args.nj}, expected at least 1")
        return cls(args.data, args.lang, args.sil_prob, args.nj)

    def key(self) -> dict[str, Any]:
        """What a model depends on, `threads` not."""
        return {"data": data_digest(self.data), "lang": lang_digest(self.lang), "sil_prob": self.sil_prob}

    def load(self) -> tuple[PhoneSet, Aligner]:
        """Phones, and an aligner with the training set in it."""
        phones = PhoneSet.load(self.lang)
        corpus = Corpus.load(self.data, phones.symbols)
        return phones, Aligner(corpus, phones.silence, self.sil_prob, self.threads)
