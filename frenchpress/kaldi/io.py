"""Archives of matrices and integer vectors (ark, scp, gz)."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np

from frenchpress.common import UserError, atomic_path, blaming
from frenchpress.kaldi.binary import HEADER, BinaryWriter
from frenchpress.kaldi.scp import open_entry, parse_entry, read_scp
from frenchpress.kaldi.values import read_value

_INT = np.dtype([("size", "i1"), ("value", "<i4")])


class MatrixReader(Mapping[str, np.ndarray]):
    """The matrices of an scp, read from disk when asked for: utterance -> float32 [T, D] (or vector [D]).

    A truncated archive, or a value that is not finite, is a UserError naming file and utterance. Statistics
    stored in double precision come back as float64.
    """

    def __init__(self, scp: Path | str, allow_pipes: bool | None = None) -> None:
        self.path = Path(scp)
        self.allow_pipes = allow_pipes
        self.entries = read_scp(scp, allow_pipes)

    def __getitem__(self, key: str) -> np.ndarray:
        entry = self.entries[key]
        where = f"{self.path}: {key} ({entry})"
        with blaming(f"{self.path}: {key}"):
            handle = open_entry(entry, self.path.parent, self.allow_pipes)
        with handle:
            matrix = _read_matrix(handle, where)
        with blaming(where):
            return _checked(parse_entry(entry).cut(matrix), where)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def read_mats(path: Path | str, allow_pipes: bool | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """(utterance, float32 [T, D]) in file order, from an `.scp`, an archive, or a gzipped archive."""
    path = Path(path)
    if path.suffix == ".scp":
        reader = MatrixReader(path, allow_pipes)
        yield from ((key, reader[key]) for key in reader)
        return
    seen: set[str] = set()
    with _open(path) as handle:
        while key := _read_key(handle, path):
            if key in seen:
                raise UserError(f"{path}: {key} is there twice; every id may come once")
            seen.add(key)
            where = f"{path}: {key}"
            yield key, _checked(_read_matrix(handle, where), where)


def read_matrix(path: Path | str) -> np.ndarray:
    """One matrix or vector from a file of its own (`final.mat`), binary or text, in the precision stored."""
    with _open(Path(path)) as handle:
        return _checked(_read_matrix(handle, str(path)), str(path))


def write_matrix(path: Path | str, matrix: np.ndarray) -> None:
    """One matrix, [rows, columns] float32 or float64, as a Kaldi binary file of its own."""
    writer = BinaryWriter()
    writer.matrix(matrix)
    writer.save(path)


def write_mats(
    ark: Path | str,
    scp: Path | str | None,
    items: Iterable[tuple[str, np.ndarray]],
    final_ark: Path | str | None = None,
) -> int:
    """Write matrices [T, D] or vectors [D] (float32, float64; others as float32) to an archive and scp.

    The scp names the archive as `final_ark` (where it will lie at last) or else as `ark` is given.
    Returns how many were written. Nothing appears under either name before all is written.
    """
    name = str(final_ark or ark)
    lines = []
    with ExitStack() as stack:
        ark_file = stack.enter_context(atomic_path(ark))
        scp_file = stack.enter_context(atomic_path(scp)) if scp else None
        with open(ark_file, "wb") as handle:
            for key, matrix in items:
                handle.write(key.encode() + b" ")
                lines.append(f"{key} {name}:{handle.tell()}\n")
                handle.write(_matrix_bytes(matrix))
        if scp_file:
            scp_file.write_text("".join(lines))
    return len(lines)


def read_int_vectors(path: Path | str) -> dict[str, np.ndarray]:
    """All int32 vectors of an archive (`ali.1.gz`, `pdf.ark`; binary or text) or of those an `.scp` names."""
    path = Path(path)
    if path.suffix == ".scp":
        return _int_vectors_by_scp(path)
    with _open(path) as handle:
        try:
            data = handle.read()
        except (EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
            raise UserError(f"{path}: cut short or damaged ({error})") from None
    found: dict[str, np.ndarray] = {}
    at = 0
    while at < len(data):
        key, vector, at = _int_vector(data, at, path)
        if key in found:
            raise UserError(f"{path}: {key} is there twice; every id may come once")
        found[key] = vector
    return found


class IntVectorReader(Mapping[str, np.ndarray]):
    """The int32 vectors [T] of an archive, read from disk when asked for.

    Where each one lies is found by one pass over the file, which looks at its head alone. UserError as in
    `read_int_vectors`, which reads archives that are text or gzipped, here too.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with _open(self.path) as handle:
            self._at = None if self.path.suffix == ".gz" else _int_places(handle, self.path)
        self._read = read_int_vectors(self.path) if self._at is None else None

    def __getitem__(self, key: str) -> np.ndarray:
        if self._at is None:
            return self._read[key]
        begin, count = self._at[key]
        with open(self.path, "rb") as handle:
            handle.seek(begin)
            data = handle.read(7 + 5 * count)
        if len(data) < 7 + 5 * count:
            raise UserError(f"{self.path}: {key}: archive is cut short")
        return _int_value(data, 0, f"{self.path}: {key}")[0]

    def length(self, key: str) -> int:
        """T of one vector, without reading it."""
        return len(self._read[key]) if self._at is None else self._at[key][1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read if self._at is None else self._at)

    def __len__(self) -> int:
        return len(self._read if self._at is None else self._at)


def _int_places(handle: BinaryIO, path: Path) -> dict[str, tuple[int, int]] | None:
    """Where the value of each entry begins, and how many integers it has; None for text."""
    size, places = os.fstat(handle.fileno()).st_size, {}
    while key := _read_key(handle, path):
        begin, head = handle.tell(), handle.read(7)
        if head[:2] != HEADER:
            return None
        count = int.from_bytes(head[3:7], "little", signed=True)
        if len(head) < 7 or head[2] != 4 or count < 0 or handle.seek(5 * count, os.SEEK_CUR) > size:
            raise UserError(f"{path}: {key}: archive is cut short or holds no int32 vector")
        if key in places:
            raise UserError(f"{path}: {key} is there twice; every id may come once")
        places[key] = begin, count
    return places


def write_int_vectors(
    path: Path | str,
    items: Iterable[tuple[str, np.ndarray]] | Mapping[str, np.ndarray],
    scp: Path | str | None = None,
    final_ark: Path | str | None = None,
) -> int:
    """Write int vectors as a Kaldi archive, gzipped (and then without scp) if the name ends in .gz.

    Returns how many were written. The same input gives the same bytes.
    """
    pairs = items.items() if isinstance(items, Mapping) else items
    name = str(final_ark or path)
    buffer = io.BytesIO()
    lines = []
    for key, vector in pairs:
        buffer.write(key.encode() + b" ")
        lines.append(f"{key} {name}:{buffer.tell()}\n")
        buffer.write(_int_vector_bytes(vector))
    data = buffer.getvalue()
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(data, 6, mtime=0) if Path(path).suffix == ".gz" else data)
    if scp:
        with atomic_path(scp) as temporary:
            temporary.write_text("".join(lines))
    return len(lines)


def _open(path: Path) -> BinaryIO:
    try:
        handle = gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")  # noqa: SIM115
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such file") from None
    return handle


def _read_key(handle: BinaryIO, path: Path) -> str:
    try:
        key = bytearray()
        while (byte := handle.read(1)) not in (b"", b" "):
            key += byte
        return key.decode().strip()
    except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path}: cut short or not an archive ({error})") from None


def _read_matrix(handle: BinaryIO, where: str) -> np.ndarray:
    try:
        return read_value(handle)
    except UserError:
        raise
    except Exception as error:  # whatever a reader lets out on damaged bytes, a broken gzip among them
        reason = " ".join(str(error).split()) or "file ends inside a matrix"
        raise UserError(f"{where}: archive is cut short or damaged ({reason})") from None


def _checked(matrix: np.ndarray, where: str) -> np.ndarray:
    if not np.isfinite(matrix).all():
        frame = int(np.argwhere(~np.isfinite(matrix))[0][0])
        raise UserError(f"{where}: NaN or infinity in row {frame}; the file must be computed again")
    return matrix if matrix.dtype in (np.float32, np.float64) else matrix.astype(np.float32)


def _matrix_bytes(matrix: np.ndarray) -> bytes:
    writer = BinaryWriter()
    (writer.matrix if matrix.ndim == 2 else writer.vector)(matrix)
    return writer.bytes()


def _int_vector_bytes(vector: np.ndarray) -> bytes:
    sized = np.empty(len(vector) + 1, _INT)
    sized["size"] = 4
    sized["value"][0] = len(vector)
    sized["value"][1:] = vector
    return HEADER + sized.tobytes()


def _int_vector(data: bytes, at: int, path: Path) -> tuple[str, np.ndarray, int]:
    """The entry that begins at `at`: its key, its vector, where the next one begins."""
    space = data.find(b" ", at)
    if space < 0:
        raise UserError(f"{path}: byte {at}: cut short, expected an utterance id")
    key = data[at:space].decode("utf-8", "replace").strip()
    vector, end = _int_value(data, space + 1, f"{path}: {key}")
    return key, vector, end


def _int_value(data: bytes, at: int, where: str) -> tuple[np.ndarray, int]:
    if data[at : at + 2] != HEADER:
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        try:
            return np.array(data[at:end].split(), dtype=np.int32), end + 1
        except ValueError:
            raise UserError(f"{where}: expected integers") from None
    start = at + 2
    if len(data) < start + 5 or data[start] != 4:
        raise UserError(f"{where}: archive is cut short or holds no int32 vector")
    count = int(np.frombuffer(data, "<i4", 1, start + 1)[0])
    end = start + 5 * (count + 1)
    if count < 0 or end > len(data):
        raise UserError(f"{where}: archive is cut short")
    sized = np.frombuffer(data, _INT, count, start + 5)
    if (sized["size"] != 4).any():
        raise UserError(f"{where}: archive is damaged, or holds no int32 vector")
    return sized["value"].copy(), end


def _int_vectors_by_scp(scp: Path) -> dict[str, np.ndarray]:
    found = {}
    for key, entry in read_scp(scp).items():
        with open_entry(entry, scp.parent) as handle:
            start = handle.tell()
            head = handle.read(7)
            count = int.from_bytes(head[3:7], "little", signed=True) if head[:2] == HEADER else None
            handle.seek(start)
            data = handle.read(-1 if count is None else 7 + 5 * max(count, 0))
        where = f"{scp}: {key} ({os.fspath(entry)})"
        vector, _ = _int_value(data, 0, where)
        with blaming(where):
            found[key] = parse_entry(entry).cut(vector)
    return found
