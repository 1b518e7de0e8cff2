"""What turns espeak-ng's clean voice into many speakers in many rooms: numpy on float samples [N].

Every function is pure; what is random comes from the generator that is handed in.
"""

from __future__ import annotations

import numpy as np

_FRAME, _HOP = 512, 128
_SMOOTH = np.hanning(17)[1:-1]  # over 470 Hz at 16 kHz: wider than the pitch, narrower than most formants
_MAX_GAIN = 2.5  # nepers, about 22 dB


def fast_size(length: int) -> int:
    """The smallest size from `length` on of which a Fourier transform is fast: factors 2, 3, 5 and 7 alone."""
    while True:
        rest = length
        for factor in (2, 3, 5, 7):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1


def resample(signal: np.ndarray, length: int) -> np.ndarray:
    """The signal [N] with `length` samples for the same duration, band-limited (by its Fourier transform).

    The transform takes the ends for neighbours: silence at one of them is assumed.
    """
    bins = min(len(signal), length) // 2 + 1
    spectrum = np.fft.rfft(signal)[:bins]
    # A short taper below the new Nyquist frequency, so that its edge does not ring.
    taper = max(1, bins // 50)
    spectrum[-taper:] *= np.cos(np.linspace(0, np.pi / 2, taper)) ** 2
    return np.fft.irfft(spectrum, length) * (length / len(signal))


def warp_formants(signal: np.ndarray, factor: float) -> np.ndarray:
    """Move the spectral envelope to `factor` times its frequencies and leave the pitch, as a shorter tract does."""
    padded = np.pad(signal, (_FRAME, _FRAME + _HOP - len(signal) % _HOP))
    window = np.sqrt(np.hanning(_FRAME + 1)[:-1])
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP] * window
    spectra = np.fft.rfft(frames, axis=1)
    power = np.pad(np.abs(spectra) ** 2, ((0, 0), (len(_SMOOTH) // 2,) * 2), mode="reflect")
    envelope = sum(w * power[:, i : i + spectra.shape[1]] for i, w in enumerate(_SMOOTH))
    envelope = 0.5 * np.log(envelope + 1e-6)
    source = np.minimum(np.arange(envelope.shape[1]) / factor, envelope.shape[1] - 1.001)
    low = source.astype(int)
    part = source - low
    moved = envelope[:, low] * (1 - part) + envelope[:, low + 1] * part
    spectra *= np.exp(np.clip(moved - envelope, -_MAX_GAIN, _MAX_GAIN))
    frames = np.fft.irfft(spectra, axis=1) * window
    out = np.zeros(len(padded))
    for offset in range(0, _FRAME, _HOP):  # frames that do not overlap are laid down at once
        part_frames = frames[offset // _HOP :: _FRAME // _HOP]
        flat = part_frames.reshape(-1)[: len(padded) - offset]
        out[offset : offset + len(flat)] += flat
    return out[_FRAME : _FRAME + len(signal)] / (_FRAME / _HOP / 2)


def channel(rng: np.random.Generator, rate: int, ripple_db: float, reverb_db: float, decay: float) -> np.ndarray:
    """Impulse response of a microphone in a room: a smooth random colour, and a tail of echoes.

    `ripple_db`: spread of the colour; `reverb_db`: level of the tail against the direct sound; `decay`: seconds in
    which the tail falls by 60 dB.
    """
    length = int(decay * rate)
    knots = np.interp(np.linspace(0, 1, 513), np.linspace(0, 1, 9), rng.normal(0.0, ripple_db, 9))
    direct = _minimum_phase(knots)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail[: rate // 500] = 0.0
    tail *= 10 ** (reverb_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return np.convolve(direct, tail)


def convolve(signal: np.ndarray, response: np.ndarray) -> np.ndarray:
    """`signal` [N] through `response`, cut to N samples: nothing is delayed."""
    size = fast_size(len(signal) + len(response))
    product = np.fft.rfft(signal, size) * np.fft.rfft(response, size)
    return np.fft.irfft(product, size)[: len(signal)]


def add_noise(signal: np.ndarray, rng: np.random.Generator, rate: int, snr_db: float, slope: float) -> np.ndarray:
    """Add noise whose spectrum falls by `slope` dB per octave, `snr_db` below the mean power of the speech."""
    size = fast_size(len(signal))
    white = np.fft.rfft(rng.standard_normal(size))
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / rate), 50.0)
    noise = np.fft.irfft(white * (frequency / 1000.0) ** (-slope / 20 / np.log10(2.0)), size)[: len(signal)]
    loud = signal[np.abs(signal) > 1e-3 * np.abs(signal).max()]
    wanted = np.sqrt(np.mean(loud**2)) * 10 ** (-snr_db / 20)
    return signal + noise * (wanted / np.sqrt(np.mean(noise**2)))


def _minimum_phase(gain_db: np.ndarray) -> np.ndarray:
    """Impulse response with this gain at frequencies 0 to Nyquist, all delay removed (folded cepstrum)."""
    log_gain = gain_db * (np.log(10) / 20)
    cepstrum = np.fft.irfft(log_gain)
    half = len(cepstrum) // 2
    cepstrum[1:half] *= 2
    cepstrum[half + 1 :] = 0.0
    return np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))[:128]
