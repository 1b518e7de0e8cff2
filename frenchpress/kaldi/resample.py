"""The same recording faster or slower, its pitch with it: as `sox speed` does; a windowed sinc in polyphase form."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

_ZEROS = 24
"""Zero crossings of the sinc on each side."""
_ROLLOFF = 0.945
"""Where the low-pass lies, as a share of the lower of the two Nyquist frequencies."""


def change_speed(samples: NDArray[np.float32], speed: Fraction) -> NDArray[np.float32]:
    """Samples float32 [N] at `speed` times the speed: float32 [round(N / speed)], sample n being that at n * speed.

    Frequencies are multiplied by `speed`; those that would pass the Nyquist frequency are taken out first. Smith,
    "Digital audio resampling" (Hann-windowed sinc); the reference in the tests is its sum, sample by sample.
    """
    up, down = speed.denominator, speed.numerator
    count = int(len(samples) / speed + Fraction(1, 2))
    half = int(np.ceil(_ZEROS / (2 * cutoff(speed))))
    # The last sample may be asked for at most one step beyond the end.
    padded = np.pad(samples.astype(np.float64), (half, half + down))
    out = np.zeros(count)
    for phase in range(min(up, count)):
        first, part = divmod(phase * down, up)
        weights = kernel(part / up - np.arange(-half + 1, half + 1), speed)
        windows = sliding_window_view(padded, 2 * half)[first + 1 :: down]
        number = len(range(phase, count, up))
        out[phase::up] = windows[:number] @ weights
    return out.astype(np.float32)


def cutoff(speed: Fraction) -> float:
    """Of the low-pass, in cycles per sample of what comes in."""
    return 0.5 * _ROLLOFF * min(1.0, float(1 / speed))


def kernel(t: NDArray[np.float64], speed: Fraction) -> NDArray[np.float64]:
    """The low-pass at times `t`, in samples of what comes in."""
    edge = 2 * cutoff(speed)
    window = np.where(np.abs(t) * edge < _ZEROS, 0.5 + 0.5 * np.cos(np.pi * t * edge / _ZEROS), 0.0)
    return edge * np.sinc(edge * t) * window
