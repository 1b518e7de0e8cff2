"""Samples from a pipe: whole whatever the pieces, and a clear line for what is no audio."""

import io
import struct

import numpy as np
import pytest

from frenchpress.common import UserError
from frenchpress.kaldi.audio_stream import stream_samples

SAMPLES = (np.cumsum(np.random.default_rng(0).integers(-300, 301, 5000)) % 20000).astype("<i2")


class Trickle(io.BytesIO):
    """A pipe that gives seven bytes at a time at most."""

    def read1(self, size=-1):
        return super().read1(min(7, size) if size >= 0 else 7)


def wav(samples=SAMPLES, rate=16000, channels=1, bits=16, code=1, size=None, extra=b""):
    data = samples.tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, code, channels, rate, 2 * rate, 2, bits)
    header = b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVE" + extra + form
    return header + b"data" + struct.pack("<I", len(data) if size is None else size) + data


def read(data):
    return np.concatenate(list(stream_samples(Trickle(data), 16000, "pipe")))


@pytest.mark.parametrize(
    "data",
    [
        SAMPLES.tobytes(),
        SAMPLES.tobytes() + b"x",
        wav(),
        wav() + b"LIST\4\0\0\0abcd",
        wav(extra=b"LIST\3\0\0\0abc\0"),
        wav(size=0),
        wav(size=0xFFFFFFFF),
    ],
    ids=["raw", "half a sample", "wav", "more chunks", "chunk before", "no length", "endless"],
)
def test_samples_come_whole(data):
    assert np.array_equal(read(data), SAMPLES.astype(np.float32))


@pytest.mark.parametrize(
    "data,message",
    [
        (b"", "pipe: no audio came in"),
        (b"x", "no audio came in"),
        (wav(SAMPLES[:0], size=0), "no samples"),
        (wav()[:-10], "truncated audio, 9990 bytes where its header promises 10000"),
        (wav(rate=8000), "8000 Hz, expected 16000 Hz"),
        (wav(channels=2), "2 channels, expected mono"),
        (wav(bits=12), "12 bits, expected 16-bit integers"),
        (wav(code=7, bits=8), "format 7"),
        (wav()[:20], "damaged WAV header"),
        (b"RIFF\0\0\0\0AVI LIST", "RIFF, but not WAV"),
        (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", "damaged WAV header"),
        (b"fLaC" + bytes(100), "FLAC data; a pipe may bring WAV or raw"),
    ],
)
def test_what_is_no_audio(data, message):
    with pytest.raises(UserError, match=message):
        read(data)
