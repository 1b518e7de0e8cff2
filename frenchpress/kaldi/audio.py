"""Audio behind wav.scp: mono files of one sampling rate (WAV, FLAC, NIST SPHERE), checked to be whole."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path

import numpy as np
import soundfile

from frenchpress.common import UserError, blaming
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.scp import is_pipe, resolve, run_pipe


def read_audio(entry: str, near: Path, rate: int, where: str, allow_pipes: bool = False) -> np.ndarray:
    """Samples of a wav.scp entry in the range of 16-bit integers, float32 [N].

    `near` is the directory that relative names start from, `where` begins every error ("wav.scp:7: utt").
    Errors: missing, empty, unreadable or truncated file; other sampling rate than `rate`; several channels.
    """
    name, data = _bytes_of(entry, near, where, allow_pipes)
    return _decoded(data, rate, f"{where}: {name}")


def read_audio_file(path: Path | str, rate: int) -> np.ndarray:
    """As `read_audio`, of a file; its name as given begins every error."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a directory, expected audio") from None
    return _decoded(data, rate, str(path))


def _decoded(data: bytes, rate: int, at: str) -> np.ndarray:
    if not data:
        raise UserError(f"{at}: empty file, expected audio")
    promised = _promised_bytes(data)
    if promised > len(data):
        raise UserError(f"{at}: truncated audio, {len(data)} bytes where its header promises {promised}")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            frames, channels, found = sound.frames, sound.channels, sound.samplerate
            samples = _samples(sound)
    except soundfile.LibsndfileError as error:
        raise UserError(f"{at}: truncated, or no WAV, FLAC or SPHERE audio ({_reason(error)})") from None
    except MemoryError:
        raise UserError(f"{at}: damaged, its header promises more samples than there is memory for") from None
    if found != rate:
        raise UserError(f"{at}: {found} Hz, expected {rate} Hz")
    if channels != 1:
        raise UserError(f"{at}: {channels} channels, expected mono")
    if len(samples) < frames or not len(samples):
        raise UserError(f"{at}: truncated audio, {len(samples)} samples where its header promises {frames}")
    return samples[:, 0].astype(np.float32)


def _samples(sound: soundfile.SoundFile) -> np.ndarray:
    """All samples [N, channels] as 16-bit integers. libsndfile scales other integers to that, but not floats."""
    if sound.subtype not in ("FLOAT", "DOUBLE"):
        return sound.read(dtype="int16", always_2d=True)
    scaled = np.rint(32768.0 * sound.read(dtype="float64", always_2d=True))
    return np.nan_to_num(scaled).clip(-32768, 32767).astype(np.int16)


def file_state(data: DataDir) -> str:
    """A fingerprint of names, sizes and times of the audio files, to notice that one has changed."""
    total = hashlib.sha256()
    for utt, entry in data.wav.items():
        total.update(f"{utt} {entry}".encode())
        if not is_pipe(entry):
            with blaming(data.where("wav.scp", utt)):
                state = resolve(entry, data.path).stat()
            total.update(f" {state.st_size} {state.st_mtime_ns}\n".encode())
    return total.hexdigest()


def _bytes_of(entry: str, near: Path, where: str, allow_pipes: bool) -> tuple[str, bytes]:
    try:
        if is_pipe(entry):
            if not allow_pipes:
                raise UserError(f"{entry[:60]!r} is a shell command; give a file, or --allow-pipes to run it")
            return "command", run_pipe(entry).read()
        path = resolve(entry, near)
        data = path.read_bytes()
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except IsADirectoryError:
        raise UserError(f"{where}: {entry} is a directory, expected audio") from None
    return str(path), data


def _promised_bytes(data: bytes) -> int:
    """The size that the header of a WAV or SPHERE file claims; 0 where only decoding can tell."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return _riff_bytes(data)
    if data[:7] == b"NIST_1A":
        return _sphere_bytes(data)
    return 0


def _riff_bytes(data: bytes) -> int:
    # Chunk by chunk to "data": the size in the RIFF header itself is often wrong in the wild.
    at = 12
    while at + 8 <= len(data):
        (size,) = struct.unpack("<I", data[at + 4 : at + 8])
        if data[at : at + 4] == b"data":
            streamed = size in (0, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFF7)  # written to a pipe, length unknown
            return 0 if streamed else at + 8 + size
        at += 8 + size + size % 2
    return len(data) + 1


def _sphere_bytes(data: bytes) -> int:
    try:
        header = int(data[8:16])
        lines = data[:header].decode("latin-1").splitlines()
        fields = {words[0]: words[-1] for line in lines if len(words := line.split()) == 3}
        if "shorten" in fields.get("sample_coding", ""):
            return 0
        values = (int(fields.get(k, d)) for k, d in (("sample_count", 0), ("sample_n_bytes", 2)))
        count, width = values
        return header + count * width * int(fields.get("channel_count", 1))
    except ValueError:
        return len(data) + 1


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).strip().rstrip(".")
