"""What a file is by its first bytes, to say so where audio of another kind was expected."""

from __future__ import annotations

import numpy as np

_SIGNS = (
    (0, b"RIFF", "RIFF"),
    (0, b"RIFX", "big-endian WAV"),
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "Ogg"),
    (0, b"NIST", "NIST SPHERE"),
    (0, b"FORM", "AIFF"),
    (0, b"ID3", "MP3"),
    (4, b"ftyp", "MP4"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (0, b"0&\xb2u", "Windows Media"),
    (0, b"#!AMR", "AMR"),
    (0, b"caff", "CAF"),
    (0, b".snd", "AU"),
    (0, b"riff", "Wave64"),
    (0, b"wvPk", "WavPack"),
    (0, b"ajkg", "shorten"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ", "xz"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"%PDF", "PDF"),
    (0, b"\x89PNG", "PNG"),
)
_MP3_KBITS = {3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
              2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)}  # fmt: skip
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_LOUD, _UNLIKE = 8000.0, 0.3  # root mean square of samples, and correlation of neighbours

LOOK = 4096
"""Bytes that are enough to tell."""


def kind_of(begun: bytes) -> str | None:
    """What the first bytes of a file (`LOOK` or all) are, if that is not headerless audio in 16-bit samples."""
    for at, sign, name in _SIGNS:
        if begun[at : at + len(sign)] == sign:
            return name
    if _mp3_frame(begun, 0):
        return "MP3"
    if _adts_frame(begun, 0):
        return "AAC"
    if len(begun) >= 16 and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in begun[:512]):
        return "text"
    return "compressed or damaged" if _noise(begun) else None


def _mp3_frame(data: bytes, at: int, more: int = 1) -> bool:
    """Whether a frame of MPEG audio, layer III, begins here, and `more` after it; source: ISO/IEC 11172-3, 2.4.1.3."""
    if len(data) < at + 4 or data[at] != 0xFF or data[at + 1] & 0xE6 != 0xE2:
        return False
    version, bitrate, rate = data[at + 1] >> 3 & 3, data[at + 2] >> 4, data[at + 2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return False
    samples, kbits = (144, _MP3_KBITS[3]) if version == 3 else (72, _MP3_KBITS[2])
    size = samples * kbits[bitrate] * 1000 // _MP3_RATES[version][rate] + (data[at + 2] >> 1 & 1)
    return more == 0 or _mp3_frame(data, at + size, more - 1)


def _adts_frame(data: bytes, at: int, more: int = 1) -> bool:
    """The same of AAC with ADTS headers; source: ISO/IEC 13818-7, 6.2."""
    if len(data) < at + 7 or data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0:
        return False
    size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    return size > 7 and (more == 0 or _adts_frame(data, at + size, more - 1))


def _noise(data: bytes) -> bool:
    """Whether 16-bit samples would be loud and each unlike its neighbour, as no sound is and compressed data are."""
    samples = np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float64)
    if len(samples) < 256:
        return False
    power = float(np.mean(samples**2))
    alike = float(np.mean(samples[1:] * samples[:-1]))
    return power > _LOUD**2 and abs(alike) < _UNLIKE * power
