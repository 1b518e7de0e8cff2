"""Headers of the two audio formats in which TIMIT is handed on: NIST SPHERE (LDC's own) and RIFF.

Only the header is read, and held against the file's size: a truncated file is found without decoding it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from frenchpress.common import UserError

RATE = 16000
"""Hz, of all of TIMIT."""

_SPHERE_MAGIC = b"NIST_1A\n"
_SPHERE_HEADER = 1024


@dataclass(frozen=True)
class AudioInfo:
    """What a header says, and the `bytes` of samples that follow it in the file."""

    rate: int
    channels: int
    frames: int
    sample_bytes: int
    bytes: int


def check_audio(path: Path) -> int:
    """Samples in a whole mono 16 kHz file of 16-bit PCM; UserError if it is anything else."""
    info = _read_info(path)
    if info.channels != 1:
        raise UserError(f"{path}: {info.channels} channels, expected one")
    if info.rate != RATE:
        raise UserError(f"{path}: sample rate {info.rate} Hz, expected {RATE}")
    if info.sample_bytes != 2:
        raise UserError(f"{path}: {8 * info.sample_bytes}-bit samples, expected 16-bit PCM")
    if info.frames <= 0:
        raise UserError(f"{path}: holds no samples")
    if info.bytes < 2 * info.frames:
        raise UserError(f"{path}: truncated, {info.bytes // 2} of {info.frames} samples are there")
    return info.frames


def write_sphere(path: Path, samples: np.ndarray, utterance: str) -> None:
    """Write mono 16 kHz audio, int16 [N], as NIST SPHERE with TIMIT's header fields."""
    fields = {
        "database_id": "synthetic",
        "utterance_id": utterance,
        "channel_count": 1,
        "sample_count": len(samples),
        "sample_rate": RATE,
        "sample_min": int(samples.min(initial=0)),
        "sample_max": int(samples.max(initial=0)),
        "sample_n_bytes": 2,
        "sample_byte_format": "01",
        "sample_sig_bits": 16,
        "sample_coding": "pcm",
    }
    lines = [
        f"{key} -i {value}" if isinstance(value, int) else f"{key} -s{len(value)} {value}"
        for key, value in fields.items()
    ]
    header = _SPHERE_MAGIC + f"{_SPHERE_HEADER:7d}\n".encode() + "\n".join([*lines, "end_head", ""]).encode()
    path.write_bytes(header.ljust(_SPHERE_HEADER) + samples.astype("<i2").tobytes())


def _read_info(path: Path) -> AudioInfo:
    with open(path, "rb") as handle:
        magic = handle.read(12)
        if magic[:8] == _SPHERE_MAGIC:
            return _read_sphere(path, handle)
        if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
            return _read_riff(path, handle)
    raise UserError(f"{path}: neither NIST SPHERE nor RIFF WAVE audio")


def _read_sphere(path: Path, handle: BinaryIO) -> AudioInfo:
    handle.seek(8)
    try:
        size = int(handle.read(8))
        handle.seek(0)
        text = handle.read(size).decode("latin-1")
        fields = {}
        for line in text.splitlines()[2:]:
            if line.startswith("end_head"):
                break
            parts = line.split(None, 2)
            if len(parts) == 3:
                fields[parts[0]] = parts[2].strip()
        coding = fields.get("sample_coding", "pcm")
        info = AudioInfo(
            rate=int(fields["sample_rate"]),
            channels=int(fields["channel_count"]),
            frames=int(fields["sample_count"]),
            sample_bytes=int(fields.get("sample_n_bytes", "2")),
            bytes=path.stat().st_size - size,
        )
    except (ValueError, KeyError) as error:
        raise UserError(f"{path}: malformed SPHERE header ({error})") from None
    if coding != "pcm":
        raise UserError(f"{path}: SPHERE coding '{coding}', expected plain pcm; unpack it with sph2pipe")
    return info


def _read_riff(path: Path, handle: BinaryIO) -> AudioInfo:
    rate = channels = sample_bytes = 0
    while len(head := handle.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name == b"fmt ":
            body = handle.read(size + size % 2)
            if len(body) < 16:
                break
            coding, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
            if coding not in (1, 0xFFFE):
                raise UserError(f"{path}: RIFF coding {coding}, expected 16-bit PCM")
            sample_bytes = bits // 8
        elif name == b"data":
            here = path.stat().st_size - handle.tell()
            frames = size // max(1, channels * sample_bytes)
            return AudioInfo(rate, channels, frames, sample_bytes, min(here, size))
        else:
            handle.seek(size + size % 2, 1)
    raise UserError(f"{path}: truncated or malformed RIFF header, no samples in it")
