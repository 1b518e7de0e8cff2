"""From samples to phones with times, as the samples arrive: front end, adaptation, packed network, search.

All work is done in blocks of `BLOCK` frames counted from the start, so that what comes out does not depend on the
pieces that the audio came in: whole or sample by sample, the phones are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchpress.common import UserError, unknown
from frenchpress.decode.search import Decoder
from frenchpress.export.adapt import Adapter
from frenchpress.feats.mfcc import width
from frenchpress.feats.online import OnlineMfcc, RunningMean, Splicer
from frenchpress.feats.options import MfccConfig, parse_config
from frenchpress.feats.unadapted import ADAPTED, MADE_OF
from frenchpress.nnet.decode import NEVER
from frenchpress.packed.model import ENDS_PHONE, SELF_LOOP, PackedFront
from frenchpress.packed.runtime import Runtime, log_softmax

BLOCK = 25
"""Frames worked on at once."""
LOOK_EVERY, CERTAIN_AFTER = 50, 100
"""Frames between two looks at the best path; how far behind the search a phone must have ended to be given out."""

_MAX_RATE, _MAX_MILLISECONDS, _MAX_BINS, _MAX_DITHER = 192000, 200, 256, 1000


@dataclass(frozen=True)
class Segment:
    """A phone (its index) from frame `start` up to frame `end`, which is not its own."""

    phone: int
    start: int
    end: int


@dataclass(frozen=True)
class Settings:
    """What a packed model says besides its numbers. `acoustic_scale` is one over the LM weight.

    `mfcc`: options of its cepstra or filterbanks, which `kind` tells. `adapted`: the network was trained on features
    adapted to each speaker.
    """

    mfcc: MfccConfig
    kind: str
    adapted: bool
    phones: list[str]
    acoustic_scale: float
    beam: float
    max_active: int

    @classmethod
    def of(cls, runtime: Runtime, lm_weight: float | None, name: str) -> Settings:
        """From the model `name`; UserError when it has no front end or says what cannot be."""
        front, meta = runtime.model.front, runtime.model.meta
        if front is None:
            raise UserError(f"{name}: no front end in it; pack it again with --front and --train")
        phones, lines = meta.get("phones"), meta.get("mfcc")
        for value in (phones, lines):
            if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
                raise UserError(f"{name}: its phones or its MFCC options are not lists of words")
        features = meta.get("features", ADAPTED)
        if features not in MADE_OF:
            raise UserError(f"{name}: features: {unknown(features, MADE_OF)}")
        kind, adapted = MADE_OF[features], features == ADAPTED
        if len(front.weight) != (len(phones) if adapted else 0) or front.label_phone.max() >= len(phones):
            raise UserError(f"{name}: {len(phones)} names for {_phones(front)} phones")
        mfcc = _possible(parse_config(lines, name), name)
        if width(mfcc, kind) != len(front.mean):
            raise UserError(f"{name}: {width(mfcc, kind)} {kind} a frame, but its mean has {len(front.mean)}")
        decode = meta.get("decode")
        decode = decode if isinstance(decode, dict) else {}
        weight = lm_weight or _number(meta, "lm_weight", name)
        beam, active = (_number(decode, key, name) for key in ("beam", "max_active"))
        return cls(mfcc, kind, adapted, phones, 1.0 / weight, beam, int(active))


def _phones(front: PackedFront) -> int:
    return len(front.weight) or int(front.label_phone.max()) + 1


def _number(table: Mapping[str, Any], key: str, name: str) -> float:
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
        hint = "; give --lm-weight, or pack it again after stage 5" if key == "lm_weight" else ""
        raise UserError(f"{name}: no usable {key} in it{hint}")
    return float(value)


def _possible(conf: MfccConfig, name: str) -> MfccConfig:
    """Options that a computer of cepstra can be built with, in reasonable memory."""
    half = conf.sample_frequency / 2
    top = conf.high_freq if conf.high_freq > 0 else half + conf.high_freq
    if not (
        100 <= conf.sample_frequency <= _MAX_RATE
        and 1 <= conf.frame_shift <= conf.frame_length <= _MAX_MILLISECONDS
        and 3 <= conf.num_mel_bins <= _MAX_BINS
        and conf.dither <= _MAX_DITHER
        and 0 <= conf.low_freq < top <= half
    ):
        raise UserError(f"{name}: MFCC options outside of what can be computed")
    return conf


class Recogniser:
    """One utterance. `adapter` learns from it, and may be that of an utterance before."""

    def __init__(self, runtime: Runtime, decoder: Decoder, settings: Settings, adapter: Adapter) -> None:
        front = runtime.model.front
        assert front is not None  # Settings.of has looked
        self._front, self._mean, self._adapter = front, RunningMean(front.mean), adapter
        self._cepstra, self._splice = OnlineMfcc(settings.mfcc, settings.kind), Splicer(front.left, front.right)
        self._network, self._search = runtime.stream(), decoder.stream(settings.acoustic_scale)
        self._priors = runtime.log_priors()
        self._waiting = np.zeros((0, len(front.mean)), np.float32)
        self._feats = [np.zeros((0, len(front.matrix)), np.float32)]
        self._given, self._next_look = 0, LOOK_EVERY

    @property
    def frames(self) -> int:
        """Frames searched so far."""
        return self._search.frames

    def push(self, samples: NDArray[np.float32]) -> list[Segment]:
        """Samples [N] in the range of 16-bit integers -> the phones that are settled by now."""
        self._waiting = np.concatenate([self._waiting, self._cepstra.push(samples)])
        settled = []
        while len(self._waiting) >= BLOCK:
            block, self._waiting = self._waiting[:BLOCK], self._waiting[BLOCK:]
            self._forward(self._splice.push(self._mean(block)))
            settled += self._look()
        return settled

    def so_far(self) -> list[Segment]:
        """The best guess at the phones of all frames searched so far; the last ones may still change."""
        return segments(self._search.path(False), self._front) if self.frames else []

    def finish(self) -> list[Segment]:
        """The audio is over: the phones not given out yet. UserError when the audio filled no frame."""
        settled = self.push(np.zeros(0, np.float32))
        last = np.concatenate([self._waiting, self._cepstra.finish()])
        if not len(last) + sum(map(len, self._feats)):
            raise UserError("shorter than one frame")
        for begin in range(0, len(last), BLOCK):
            self._forward(self._splice.push(self._mean(last[begin : begin + BLOCK])))
        self._forward(self._splice.finish())
        self._recognise(self._network.finish())
        path = self._search.path(True)
        self._adapt(path, over=True)
        return settled + self._give(segments(path, self._front))

    def _forward(self, spliced: NDArray[np.float32]) -> None:
        feats = spliced @ self._front.matrix.T
        self._feats.append(feats)
        self._recognise(self._network.push(self._adapter.apply(feats)))

    def _recognise(self, logits: NDArray[np.int32]) -> None:
        posteriors = log_softmax(logits) if len(logits) else logits.astype(np.float32)
        unseen = np.isneginf(self._priors)
        self._search.push(np.where(unseen, np.float32(NEVER), posteriors - np.where(unseen, 0, self._priors)))

    def _look(self) -> list[Segment]:
        if self.frames < self._next_look:
            return []
        self._next_look += LOOK_EVERY
        path, certain = self._search.path(False), self.frames - CERTAIN_AFTER
        self._adapt(path, over=False)
        return self._give([s for s in segments(path, self._front)[:-1] if s.end <= certain])

    def _adapt(self, path: NDArray[np.int32], over: bool) -> None:
        self._feats = [np.concatenate(self._feats)]
        self._adapter.hear(self._feats[0][: len(path)], self._front.label_phone[path - 1], over)

    def _give(self, found: list[Segment]) -> list[Segment]:
        """Those that lie after what was given out, the first cut to begin there."""
        new = [Segment(s.phone, max(s.start, self._given), s.end) for s in found if s.end > self._given]
        self._given = new[-1].end if new else self._given
        return new


def audio_features(
    samples: NDArray[np.float32], front: PackedFront, mfcc: MfccConfig, kind: str = "mfcc"
) -> NDArray[np.float32]:
    """Samples [N] in the range of 16-bit integers -> features [T, D] without fMLLR; UserError when they fill no frame.

    They are made of cepstra, or of filterbanks (`kind` fbank). The mean of these is a running one, so that a frame
    depends on nothing that comes after its neighbours.
    """
    cepstra, splicer = OnlineMfcc(mfcc, kind), Splicer(front.left, front.right)
    frames = np.concatenate([cepstra.push(samples), cepstra.finish()])
    if not len(frames):
        raise UserError("shorter than one frame")
    return np.concatenate([splicer.push(RunningMean(front.mean)(frames)), splicer.finish()]) @ front.matrix.T


def segments(labels: NDArray[np.int32], front: PackedFront) -> list[Segment]:
    """The phones of a path, given as the graph's input label at each frame.

    A phone is over when another begins, or after an arc that ends it and the loops of the same state.
    """
    phones, flags = front.label_phone[labels - 1], front.label_flags[labels - 1]
    starts, over = [], False
    for t in range(len(labels)):
        if t == 0 or phones[t] != phones[t - 1] or (over and not flags[t] & SELF_LOOP):
            starts.append(t)
            over = False
        over = over or bool(flags[t] & ENDS_PHONE)
    return [Segment(int(phones[s]), s, e) for s, e in zip(starts, [*starts[1:], len(labels)])]
