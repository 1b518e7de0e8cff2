"""What the commands of this room have in common: keys of their inputs, and directories made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from frenchpress.common import UserError, digest, is_done, locked_dir, mark_done


def data_digest(data: Path) -> str:
    """Of features and tables of a data directory."""
    names = ("feats.scp", "cmvn.scp", "utt2spk", "text", "mfcc/.done", "words", "lexiconp.txt")
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
