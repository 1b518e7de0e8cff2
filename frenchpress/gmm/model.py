"""A GMM system: transitions, tree, mixtures, and how its features are made; its directory on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError
from frenchpress.gmm.corpus import Corpus, Frames
from frenchpress.gmm.gmms import GmmSet
from frenchpress.kaldi.gmm import read_model, write_model
from frenchpress.kaldi.io import read_int_vectors, read_matrix, read_mats, write_int_vectors, write_matrix
from frenchpress.kaldi.transition import TransitionModel
from frenchpress.kaldi.tree import ContextTree, read_tree, write_tree


@dataclass(frozen=True)
class FrontEnd:
    """From MFCC to the features of a system: differences, or else `left` + `right` neighbours and a matrix [D, E]."""

    matrix: NDArray | None = None
    left: int = 3
    right: int = 3

    def __call__(self, corpus: Corpus) -> Frames:
        """Features [F, D] of a corpus, without speaker adaptation."""
        if self.matrix is None:
            return corpus.deltas()
        spliced = corpus.spliced(self.left, self.right)
        dim = self.matrix.shape[1]
        if spliced.shape[1] != dim:
            raise UserError(f"final.mat takes {dim} dimensions, spliced features have {spliced.shape[1]}")
        return spliced @ np.asarray(self.matrix, np.float32).T


@dataclass(frozen=True)
class Model:
    """Transition model, tree and mixtures that belong together."""

    transitions: TransitionModel
    tree: ContextTree
    gmms: GmmSet

    def with_gmms(self, gmms: GmmSet) -> Model:
        """The same with other mixtures."""
        return replace(self, gmms=gmms)


@dataclass(frozen=True)
class System:
    """What an experiment directory holds; `speaker_independent` are the mixtures for unadapted features."""

    model: Model
    front_end: FrontEnd
    speaker_independent: GmmSet | None = None

    @classmethod
    def load(cls, directory: Path | str) -> System:
        """Read final.mdl, tree, and where they exist final.mat, splice_opts, final.alimdl."""
        directory = Path(directory)
        transitions, am = read_model(directory / "final.mdl")
        if am is None:
            raise UserError(f"{directory}/final.mdl: has no Gaussian mixtures; expected a GMM system")
        model = Model(transitions, read_tree(directory / "tree"), GmmSet.from_am(am))
        front_end = FrontEnd()
        if (directory / "final.mat").exists():
            front_end = FrontEnd(read_matrix(directory / "final.mat"), *read_splice_opts(directory / "splice_opts"))
        independent = None
        if (directory / "final.alimdl").exists():
            independent = GmmSet.from_am(read_model(directory / "final.alimdl")[1])
        return cls(model, front_end, independent)

    def save(self, directory: Path) -> None:
        """Write the files of `load`."""
        write_model(directory / "final.mdl", self.model.transitions, self.model.gmms.to_am())
        write_tree(directory / "tree", self.model.tree)
        (directory / "cmvn_opts").write_text("\n")
        if self.front_end.matrix is not None:
            write_matrix(directory / "final.mat", np.asarray(self.front_end.matrix, np.float32))
            left, right = self.front_end.left, self.front_end.right
            (directory / "splice_opts").write_text(f"--left-context={left} --right-context={right}\n")
        if self.speaker_independent is not None:
            write_model(directory / "final.alimdl", self.model.transitions, self.speaker_independent.to_am())


def read_splice_opts(path: Path) -> tuple[int, int]:
    """Left and right context of `splice_opts`; 4 and 4, as Kaldi has it, where nothing is said."""
    options = dict(word.lstrip("-").split("=") for word in (path.read_text().split() if path.exists() else []))
    return int(options.get("left-context", 4)), int(options.get("right-context", 4))


def write_alignment(directory: Path, corpus: Corpus, tids: NDArray[np.int32]) -> None:
    """Write transition-ids [F] (0: not aligned) as ali.1.gz, without the utterances that have none."""
    items = ((utt, part) for utt, part in corpus.split(tids) if len(part) and part[0] > 0)
    write_int_vectors(directory / "ali.1.gz", items)
    (directory / "num_jobs").write_text("1\n")


def read_alignment(directory: Path | str, corpus: Corpus) -> NDArray[np.int32]:
    """Transition-ids [F] of the utterances of a corpus from ali.*.gz; 0 for frames without."""
    directory = Path(directory)
    files = sorted(directory.glob("ali.*.gz"))
    if not files:
        raise UserError(f"{directory}: no ali.*.gz; align first")
    found: dict[str, NDArray] = {}
    for file in files:
        found.update(read_int_vectors(file))
    tids = np.zeros(int(corpus.offsets[-1]), np.int32)
    for k, utt in enumerate(corpus.utts):
        if utt not in found:
            continue
        if len(found[utt]) != corpus.lengths[k]:
            raise UserError(f"{directory}: {utt}: {len(found[utt])} aligned frames, features have {corpus.lengths[k]}")
        tids[corpus.rows(k)] = found[utt]
    return tids


def read_transforms(path: Path) -> dict[str, NDArray]:
    """Speaker to fMLLR matrix [D, D + 1]."""
    if not path.exists():
        raise UserError(f"{path}: no such file; decoding an adapted system writes the transforms of dev and test")
    return dict(read_mats(path))
