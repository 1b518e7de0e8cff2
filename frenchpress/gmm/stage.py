"""What the commands of this room have in common: arguments, inputs, and directories made once."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frenchpress.common import UserError, digest, is_done, locked_dir, mark_done
from frenchpress.gmm.corpus import Corpus
from frenchpress.gmm.phoneset import PhoneSet
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


def data_digest(data: Path) -> str:
    """Of features and tables of a data directory."""
    names = ("feats.scp", "cmvn.scp", "utt2spk", "text", "mfcc/.done")
    for name in names[:3]:
        if not (data / name).exists():
            raise UserError(f"{data}/{name}: no such file; make the features first")
    return digest(*(data / name for name in names if (data / name).exists()))


def lang_digest(lang: Path) -> str:
    """Of what training reads from a lang directory."""
    names = ("phones.txt", "topo", "phones/sets.int", "phones/roots.int", "phones/optional_silence.int")
    for name in names:
        if not (lang / name).exists():
            raise UserError(f"{lang}/{name}: no such file; is this a lang directory?")
    extra = [lang / "phones" / name for name in ("extra_questions.int", "context_indep.int")]
    return digest(*(lang / name for name in names), *(path for path in extra if path.exists()))


def system_digest(directory: Path) -> str:
    """Of the model of an experiment directory, the transforms and the alignment in it."""
    if not (directory / "final.mdl").exists():
        raise UserError(f"{directory}/final.mdl: no such file; train that system first")
    names = ("final.mdl", "tree", "final.mat", "final.alimdl", "ali.1.gz")
    return digest(*(directory / name for name in names if (directory / name).exists()))


def produce(out: Path, key: dict[str, Any], make: Callable[[], None], stamp: Path | None = None) -> bool:
    """Run `make`, which fills `out` (or the directory `stamp` within), unless that is done for `key`; one at a time.

    False, with a line about it, when there was nothing to do.
    """
    place = stamp or out
    with locked_dir(out):
        if is_done(place, key):
            print(f"{place} is up to date")
            return False
        place.mkdir(parents=True, exist_ok=True)
        mark_done(place, {})  # until all is written, whole for nothing
        make()
        mark_done(place, key)
    return True
