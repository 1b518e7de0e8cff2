"""Triphones on transformed features: LDA with MLLT, and speaker-adaptive training with fMLLR."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frenchpress.common.progress import progress, say
from frenchpress.gmm.corpus import Corpus, Frames
from frenchpress.gmm.em import PdfFrames, accumulate, update
from frenchpress.gmm.fmllr import compose_affine, estimate_speakers
from frenchpress.gmm.gmms import GmmSet
from frenchpress.gmm.lda import LdaStats
from frenchpress.gmm.mllt import MlltStats, transform_means
from frenchpress.gmm.model import FrontEnd, Model, System
from frenchpress.gmm.phoneset import PhoneSet
from frenchpress.gmm.train import Aligner, Tids, silence_free, tied_states, train
from frenchpress.gmm.triphone import grow_triphones, triphone_schedule
from frenchpress.kaldi.gmm import AmGmm
from frenchpress.kaldi.transition import TransitionModel

TRANSFORM_AT = frozenset({2, 4, 6, 12})  # iterations that estimate MLLT or fMLLR anew
_FRAMES_AT_ONCE = 50_000

Transforms = dict[str, NDArray[np.float64]]


def train_lda_mllt(
    phones: PhoneSet,
    aligner: Aligner,
    transitions: TransitionModel,
    tids: Tids,
    leaves: int,
    gauss: int,
    context: int = 3,
    dim: int = 40,
) -> tuple[System, Tids]:
    """Triphones on `dim` dimensions of spliced MFCC, from an alignment `tids` [F] by another system's `transitions`.

    The matrix begins as LDA between that system's tied states, silence left out, and is refined by MLLT.
    """
    spliced = aligner.corpus.spliced(context, context)
    speech = silence_free(transitions, tids, phones.silence)
    matrix = [_as_stored(lda_matrix(spliced, speech, transitions.num_pdfs, dim))]

    def hook(iteration: int, model: Model, feats: Frames, tids: Tids) -> tuple[Model, Frames]:
        if iteration not in TRANSFORM_AT:
            return model, feats
        am = model.gmms.to_am()
        change, gain = mllt_matrix(am, feats, silence_free(model.transitions, tids, phones.silence))
        say(f"  MLLT: gain of log-likelihood per frame {gain:.4f}")
        matrix[0] = _as_stored(change @ matrix[0])
        moved = GmmSet.from_am(transform_means(am, change))
        return model.with_gmms(moved), spliced @ matrix[0].astype(np.float32).T

    feats = spliced @ matrix[0].astype(np.float32).T
    schedule = triphone_schedule(leaves, gauss)
    model, tids = grow_triphones(aligner.corpus, feats, phones, transitions, tids, schedule)
    model, feats, tids = train(model, feats, tids, aligner, schedule, hook)
    return System(model, FrontEnd(matrix[0], context, context)), aligner(model, feats)


def lda_matrix(spliced: Frames, pdfs: NDArray[np.int32], num_pdfs: int, dim: int) -> NDArray[np.float64]:
    """LDA [dim, D] between pdfs; frames of pdf -1 are left out."""
    stats = LdaStats(num_pdfs, spliced.shape[1])
    for begin in range(0, len(pdfs), _FRAMES_AT_ONCE):
        rows = begin + np.flatnonzero(pdfs[begin : begin + _FRAMES_AT_ONCE] >= 0)
        stats.accumulate(spliced[rows], pdfs[rows])
    return stats.estimate(dim)[0]


def mllt_matrix(am: AmGmm, feats: Frames, pdfs: NDArray[np.int32]) -> tuple[NDArray[np.float64], float]:
    """MLLT [D, D] and its gain per frame; frames of pdf -1 are left out."""
    stats = MlltStats(am.dim)
    for begin in range(0, len(pdfs), _FRAMES_AT_ONCE):
        rows = begin + np.flatnonzero(pdfs[begin : begin + _FRAMES_AT_ONCE] >= 0)
        stats.accumulate(feats[rows], pdfs[rows], am)
    return stats.estimate()


def speaker_transforms(
    corpus: Corpus, feats: Frames, pdfs: NDArray[np.int32], gmms: GmmSet, posterior_gmms: GmmSet | None = None
) -> Transforms:
    """fMLLR [D, D + 1] of every speaker for `feats` [F, D] aligned to `pdfs` [F] (-1: left out).

    Gaussian posteriors come from `posterior_gmms` where given, on the same features.
    """
    utterances = (
        (corpus.speakers[k], feats[rows], pdfs[rows], (pdfs[rows] >= 0).astype(float))
        for k, rows in enumerate(progress(map(corpus.rows, range(len(corpus.utts))), "fMLLR"))
    )
    judge = posterior_gmms.to_am() if posterior_gmms is not None else None
    found = estimate_speakers(utterances, gmms.to_am(), judge)
    frames = sum(count for _, _, count in found.values())
    gain = sum(gain * count for _, gain, count in found.values()) / max(frames, 1.0)
    say(f"  fMLLR of {len(found)} speakers: gain of log-likelihood per frame {gain:.4f}")
    return {speaker: _as_stored(transform) for speaker, (transform, _, _) in found.items()}


def compose_transforms(after: Transforms, before: Transforms) -> Transforms:
    """Per speaker the one transform that does `before` and then `after`."""
    return {speaker: _as_stored(compose_affine(after[speaker], first)) for speaker, first in before.items()}


def _as_stored(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """In the precision of files, so that whoever reads it back computes with the same numbers."""
    return matrix.astype(np.float32).astype(np.float64)


def train_sat(
    phones: PhoneSet, aligner: Aligner, previous: System, tids: Tids, leaves: int, gauss: int
) -> tuple[System, Tids, Transforms]:
    """Triphones on features of `previous` adapted to each speaker, from its alignment `tids` [F].

    The system's `speaker_independent` mixtures have the same components, with moments of unadapted features.
    """
    corpus = aligner.corpus
    plain = previous.front_end(corpus)
    transitions = previous.model.transitions
    speech = silence_free(transitions, tids, phones.silence)
    transforms = [speaker_transforms(corpus, plain, speech, previous.model.gmms)]

    def hook(iteration: int, model: Model, feats: Frames, tids: Tids) -> tuple[Model, Frames]:
        if iteration not in TRANSFORM_AT:
            return model, feats
        speech = silence_free(model.transitions, tids, phones.silence)
        change = speaker_transforms(corpus, feats, speech, model.gmms)
        transforms[0] = compose_transforms(change, transforms[0])
        return model, corpus.adapt(plain, transforms[0])

    feats = corpus.adapt(plain, transforms[0])
    schedule = triphone_schedule(leaves, gauss, power=0.2)
    model, tids = grow_triphones(corpus, feats, phones, transitions, tids, schedule)
    model, feats, tids = train(model, feats, tids, aligner, schedule, hook)
    frames = PdfFrames.sort(tied_states(model.transitions, tids), model.gmms.num_pdfs)
    stats = accumulate(model.gmms, feats, frames, aligner.threads, stats_feats=plain)
    independent = update(model.gmms, stats, remove=False)
    system = System(model, previous.front_end, independent)
    return system, aligner(model, feats), transforms[0]
