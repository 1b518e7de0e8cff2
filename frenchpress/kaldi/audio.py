"""Audio behind wav.scp: mono files of one sampling rate (WAV, FLAC, NIST SPHERE), checked to be whole."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from frenchpress.common import UserError, blaming
from frenchpress.kaldi.datadir import DataDir
from frenchpress.kaldi.kinds import LOOK, kind_of
from frenchpress.kaldi.scp import is_pipe, no_pipe, parse_entry, resolve, run_pipe
from frenchpress.kaldi.wav import check_format, check_rest, check_size, from_floats, is_wav, read_header

_BLOCK = 1 << 20
_UNKNOWN_FRAMES = 1 << 40  # what libsndfile says of FLAC without a length is more
_FLOATS = ("FLOAT", "DOUBLE", "VORBIS", "OPUS", "MPEG")


def read_audio(entry: str, near: Path, rate: int, where: str, allow_pipes: bool | None = False) -> np.ndarray:
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
    with blaming(at):
        if not data:
            raise UserError("empty file, expected audio")
        data = _checked(data)
        try:
            with _ReadOnce(io.BytesIO(data)) as sound:
                check_format(sound.samplerate, sound.channels, rate)
                frames, samples = sound.frames, _samples(sound)
        except soundfile.LibsndfileError as error:
            found = kind_of(data[:LOOK])
            raise UserError(
                f"truncated, or no WAV, FLAC or SPHERE audio ({found + ' data; ' if found else ''}{_reason(error)})"
            ) from None
        if len(samples) < frames < _UNKNOWN_FRAMES:
            raise UserError(f"truncated audio, {len(samples)} samples where its header promises {frames}")
        if not len(samples):
            raise UserError("no samples: it holds a header and no audio")
        return samples


class _ReadOnce(soundfile.SoundFile):
    """Read from front to back. soundfile else seeks after each block, which FLAC of unknown length does not allow."""

    def seekable(self) -> bool:
        """No."""
        return False


def _samples(sound: soundfile.SoundFile) -> np.ndarray:
    """All samples, float32 [N], as 16-bit integers. libsndfile scales other integers to that, but not floats."""
    floats, blocks = sound.subtype.startswith(_FLOATS), []
    # Block by block, since a file that was written to a pipe may not say how long it is.
    while len(block := sound.read(_BLOCK, dtype="float64" if floats else "int16")):
        first = _BLOCK * len(blocks)
        blocks.append(from_floats(block, first) if floats else block.astype(np.float32))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def file_state(data: DataDir) -> str:
    """A fingerprint of names, sizes and times of the audio files, to notice that one has changed."""
    total = hashlib.sha256()
    for utt, entry in data.wav.items():
        total.update(f"{utt} {entry}".encode())
        if not is_pipe(entry):
            with blaming(data.where("wav.scp", utt)):
                state = resolve(parse_entry(entry).name, data.path).stat()
            total.update(f" {state.st_size} {state.st_mtime_ns}\n".encode())
    return total.hexdigest()


def _bytes_of(entry: str, near: Path, where: str, allow_pipes: bool | None) -> tuple[str, bytes]:
    with blaming(where):
        if is_pipe(entry):
            if not allow_pipes:
                raise UserError(no_pipe(entry, allow_pipes))
            return "command", run_pipe(entry).read()
        found = parse_entry(entry)
        if found.span:
            raise UserError(f"{entry}: a range of rows is of matrices; a file `segments` takes parts of recordings")
        path = resolve(found.name, near)
        try:
            with open(path, "rb") as handle:
                return str(path), _one_of_many(handle, found.offset) if found.offset else handle.read()
        except IsADirectoryError:
            raise UserError(f"{entry} is a directory, expected audio") from None


def _one_of_many(handle: BinaryIO, offset: int) -> bytes:
    """The audio file that begins at `offset` of an archive."""
    handle.seek(offset)
    begun = handle.read(12)
    handle.seek(offset)
    if not is_wav(begun):
        return handle.read()  # its own header says where it ends
    header = read_header(handle)
    if header.size is None:
        raise UserError(f"byte {offset}: WAV of unknown size, which cannot stand in an archive")
    return header.with_samples(handle.read(header.size)) if header.size else b""


def _checked(data: bytes) -> bytes:
    """The same file, its sizes put right where the writer did not know them; UserError when less is there."""
    if is_wav(data):
        header = read_header(io.BytesIO(data))
        there = len(data) - header.begin
        check_size(header, there, 1)
        if header.size is not None:
            check_rest(data[header.begin + header.size + header.size % 2 :][:LOOK])
        return data if header.size is not None else header.with_samples(data[header.begin :])
    promised = _sphere_bytes(data) if data[:7] == b"NIST_1A" else 0
    if promised > len(data):
        raise UserError(f"truncated audio, {len(data)} bytes where its header promises {promised}")
    return data


def _sphere_bytes(data: bytes) -> int:
    """The size of a SPHERE file by its header; UserError for one that is compressed."""
    try:
        header = int(data[8:16])
        lines = data[:header].decode("latin-1").splitlines()
        fields = {words[0]: words[-1] for line in lines if len(words := line.split()) == 3}
        coding = fields.get("sample_coding", "pcm")
        values = (int(fields.get(k, d)) for k, d in (("sample_count", 0), ("sample_n_bytes", 2)))
        count, width = values
        size = header + count * width * int(fields.get("channel_count", 1))
    except ValueError:
        return len(data) + 1
    if "embedded" in coding or "shorten" in coding:
        raise UserError(f"SPHERE compressed as {coding!r}; unpack it: sph2pipe -f wav IN.sph OUT.wav")
    return size


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).strip().rstrip(".")
