"""Features as audio arrives: cepstra, their running mean taken off, neighbours side by side.

Each gives what is ready and keeps what is not. Cepstra do not depend on the pieces that samples come in.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from frenchpress.feats.mfcc import native_computer, width
from frenchpress.feats.options import MfccConfig

Frames = NDArray[np.float32]


class OnlineMfcc:
    """Mel-frequency cepstra, or `kind` fbank: those of `feats.mfcc` for an utterance without a name.

    With dither too, which is drawn in the order of samples, they do not depend on the pieces.
    """

    def __init__(self, conf: MfccConfig, kind: str = "mfcc") -> None:
        self._rate, self._width = conf.sample_frequency, width(conf, kind)
        self._computer, self._given = native_computer(conf, kind), 0
        self._dither, self._noise = np.float32(conf.dither), np.random.default_rng(zlib.crc32(b""))

    def push(self, samples: NDArray[np.float32]) -> Frames:
        """Samples [N] in the range of 16-bit integers -> the frames that they complete, [n, width]."""
        if len(samples) and self._dither:
            samples = samples + self._dither * self._noise.standard_normal(len(samples), np.float32)
        if len(samples):
            self._computer.accept_waveform(self._rate, samples)
        return self._ready()

    def finish(self) -> Frames:
        """The audio is over: the last frames."""
        self._computer.input_finished()
        return self._ready()

    def _ready(self) -> Frames:
        begin, self._given = self._given, self._computer.num_frames_ready
        # Copied before they are popped: what get_frame gives are views.
        frames = np.array([self._computer.get_frame(t) for t in range(begin, self._given)], np.float32)
        self._computer.pop(len(frames))
        return frames.reshape(len(frames), self._width)


class RunningMean:
    """Takes off the mean of the last `window` frames, the current one included.

    While there are fewer, n, it is the mean of those and of min(window - n, `prior_frames`) frames that are `mean`
    float32 [D]. As Kaldi's OnlineCmvn (src/feat/online-feature.h: cmn-window 600, global-frames 200) without
    normalisation of the variance.
    """

    def __init__(self, mean: NDArray[np.float32], window: int = 600, prior_frames: int = 200) -> None:
        self._mean = mean.astype(np.float64)
        self._window, self._prior_frames = window, prior_frames
        self._last = np.zeros((0, len(mean)))

    def __call__(self, frames: Frames) -> Frames:
        """The next frames [n, D] -> normalised."""
        known = np.concatenate([self._last, frames])
        sums = np.concatenate([np.zeros((1, known.shape[1])), np.cumsum(known, axis=0)])
        end = np.arange(len(self._last), len(known)) + 1
        begin = np.maximum(0, end - self._window)
        count = end - begin
        prior = np.minimum(self._window - count, self._prior_frames)
        self._last = known[max(0, len(known) - self._window) :]
        total = sums[end] - sums[begin] + prior[:, None] * self._mean
        return (frames - total / (count + prior)[:, None]).astype(np.float32)


class Splicer:
    """`feats.splice`, frame by frame: `left` frames before and `right` after, those at the ends repeated."""

    def __init__(self, left: int, right: int) -> None:
        self._left, self._right = left, right
        self._frames: Frames | None = None

    def push(self, frames: Frames) -> Frames:
        """Frames [n, D] -> those whose neighbours are there, [at most n, (left + 1 + right) D]."""
        if self._frames is None:
            self._frames = np.repeat(frames[:1], self._left, axis=0)
        known = np.concatenate([self._frames, frames])
        around = self._left + 1 + self._right
        ready = max(0, len(known) - around + 1)
        self._frames = known[ready:]
        return known[np.arange(ready)[:, None] + np.arange(around)].reshape(ready, around * known.shape[1])

    def finish(self) -> Frames:
        """No frame will follow: the last ones. There must have been one."""
        assert self._frames is not None
        return self.push(np.repeat(self._frames[-1:], self._right, axis=0))
