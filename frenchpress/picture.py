"""Spectrograms with the phones that a packed model recognises below: `frenchpress picture model.press a.wav --out DIR`.

Prints a line for each phone (file, start and end in seconds, phone) and writes DIR/a.png, if matplotlib is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from frenchpress.arguments import parse
from frenchpress.common import UserError, run_main
from frenchpress.export.api import Phone, Recogniser, samples_of
from frenchpress.report import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WINDOW, _SHIFT = 0.025, 0.005  # seconds
_FLOOR = -60.0  # dB below the loudest, which is white


def spectrogram(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Power in dB below the largest, [frequencies, frames], of samples [N]; Hann windows of 25 ms each 5 ms."""
    window, shift = round(_WINDOW * rate), round(_SHIFT * rate)
    padded = np.pad(samples, (0, max(0, window - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::shift] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, 1 << (window - 1).bit_length())) ** 2
    return np.maximum(10 * np.log10(np.maximum(power, 1e-10) / max(power.max(), 1e-10)), _FLOOR).T


def drawing(
    samples: NDArray[np.float32], rate: int, phones: Sequence[Phone], title: str
) -> tuple[Callable[[Axes], None], tuple[float, float]]:
    """What draws the spectrogram with a row of phones under it, and how large that is, in inches."""
    seconds = len(samples) / rate

    def draw(axes: Axes) -> None:
        extent = (0.0, seconds, 0.0, rate / 2000)
        axes.imshow(spectrogram(samples, rate), origin="lower", aspect="auto", cmap="Greys", extent=extent)
        row = -0.09 * rate / 2000
        for phone in phones:
            axes.axvline(phone.start, color="tab:blue", linewidth=0.4, ymin=0.0)
            middle = (phone.start + phone.end) / 2
            axes.text(middle, row / 2, phone.name, ha="center", va="center", fontsize=8, color="tab:blue")
        axes.set(ylim=(row, rate / 2000), xlabel="seconds", ylabel="kHz", title=title)
        axes.axhline(0.0, color="black", linewidth=0.6)

    return draw, (max(6.0, 0.25 * len(phones), 3.0 * seconds), 3.6)


def main() -> None:
    """Command line."""
    args = parse("picture")
    names = [path.stem for path in args.audio]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{twice}: two files have this name, and so would their pictures; make them one by one")
    recogniser = Recogniser(args.model)
    for path in args.audio:
        samples = samples_of(path, recogniser.rate)
        phones = recogniser.phones(path)
        for phone in phones:
            print(f"{path} {phone.start:.2f} {phone.end:.2f} {phone.name}", flush=True)
        if figure.available():
            draw, size = drawing(samples, recogniser.rate, phones, path.name)
            print(f"{figure.save(args.out / f'{path.stem}.png', draw, size)}: spectrogram and phones")
    if not figure.available():
        print(figure.HOW_TO_GET)


if __name__ == "__main__":
    run_main(main)
