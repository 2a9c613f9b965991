"""Sources: where the frames of a batch lie, listed without a look at their pixels."""

import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from partsight.runtime.cluster.batch.frames import (
    FileFrames,
    Frames,
    ParquetFrames,
    ZipFrames,
    open_parquet,
    open_zip,
    read_member,
)
from partsight.runtime.core import ImageError
from partsight.runtime.images import list_folder, list_images, list_members

_HEAD_BYTES = 512
_EXPECTED = "expected a folder with images, a zip file of images, a Parquet file, or a folder of Parquet files"


@dataclass(frozen=True)
class Chunk:
    """Frames that one actor answers in one go.

    Attributes:
        start: Index of the first frame among all frames of the source.
        frames: The frames.
    """

    start: int
    frames: Frames

    @property
    def indices(self) -> range:
        """Indices of the frames among all frames of the source."""
        return range(self.start, self.start + len(self.frames))


class Source(Protocol):
    """A listed source."""

    def __len__(self) -> int: ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 of names, sizes and times: another one means other frames."""

    def frames(self, size: int) -> Iterator[Frames]:
        """Yield all frames in order, at most `size` at a time."""


def list_source(path: Path, column: str | None = None) -> Source:
    """List the frames of a source.

    Args:
        path: Folder with images, zip file of images, Parquet file, or folder of Parquet files.
        column: Column of Parquet files with encoded pictures or paths; None for the only such column.

    Raises:
        ImageError: The source cannot be listed, has no frames, or has no such column.
        DependencyError: pyarrow is not installed.
    """
    path = path.absolute()
    try:
        source = _list(path, column)
    except OSError as error:
        raise ImageError(f"{path}: cannot be listed ({error.strerror or error}); {_EXPECTED}") from error
    if not len(source):
        raise ImageError(f"{path}: holds no frame; {_EXPECTED}")
    return source


def cut(source: Source, size: int) -> list[Chunk]:
    """Return the chunks of a source, in order, of at most `size` frames."""
    chunks, start = list[Chunk](), 0
    for frames in source.frames(size):
        chunks.append(Chunk(start, frames))
        start += len(frames)
    return chunks


def _list(path: Path, column: str | None) -> Source:
    if path.is_dir():
        tables = sorted(path.glob("*.parquet"))
        if tables and list_folder(path).images:
            raise ImageError(f"{path}: holds both Parquet files and images; move one kind to another folder")
        if tables:
            return ParquetSource.of(tables, column)
        _refuse_column(path, column)
        return FolderSource.of(path)
    if path.suffix.lower() == ".parquet":
        return ParquetSource.of([path], column)
    _refuse_column(path, column)
    if not path.exists():
        raise ImageError(f"{path}: there is no such file or folder; {_EXPECTED}")
    if not zipfile.is_zipfile(path):
        raise ImageError(f"{path}: is no zip file; {_EXPECTED}")
    return ZipSource.of(path)


def _refuse_column(path: Path, column: str | None) -> None:
    if column is not None:
        raise ImageError(f"{path}: has no columns; name the column {column!r} only for a Parquet file")


@dataclass(frozen=True)
class FolderSource:
    """Image files in a folder and its inner folders, sorted by path.

    Attributes:
        folder: The folder.
        names: Path of each file in it, as the file system has it.
        faults: Cause, by index, of each file that cannot be used.
        fingerprint: See `Source`.
    """

    folder: Path
    names: tuple[bytes, ...]
    faults: dict[int, str]
    fingerprint: str

    @classmethod
    def of(cls, folder: Path) -> "FolderSource":
        """List a folder; raises OSError."""
        listing = list_images(folder)
        entries = listing.entries
        names = tuple(os.fsencode(entry.relative_to(folder)) for entry in entries)
        faults = {index: listing.faults[entry] for index, entry in enumerate(entries) if entry in listing.faults}
        stamps = (b"%s\0%s" % (name, _stamp(entry)) for name, entry in zip(names, entries, strict=True))
        return cls(folder, names, faults, _fingerprint(stamps))

    def __len__(self) -> int:
        return len(self.names)

    def frames(self, size: int) -> Iterator[Frames]:
        """Yield all frames; see `Source`."""
        for start in range(0, len(self), size):
            yield FileFrames(self.folder, self.names[start : start + size], _of_range(self.faults, start, size))


@dataclass(frozen=True)
class ZipSource:
    """Images in a zip file, sorted by name.

    Attributes:
        path: The zip file.
        members: Index of each image in the file's list.
        faults: Cause, by index among `members`, of each member that cannot be used.
        fingerprint: See `Source`.
    """

    path: Path
    members: tuple[int, ...]
    faults: dict[int, str]
    fingerprint: str

    @classmethod
    def of(cls, path: Path) -> "ZipSource":
        """List a zip file."""
        with open_zip(path) as archive:
            listed = archive.infolist()
            names = [member.filename for member in listed]
            found = list_members(names, lambda index: read_member(archive, listed[index], _HEAD_BYTES))
        stamps = (
            f"{listed[member.index].filename}\0{listed[member.index].CRC}\0{listed[member.index].file_size}".encode(
                errors="surrogateescape"
            )
            for member in found
        )
        faults = {index: member.fault for index, member in enumerate(found) if member.fault}
        return cls(path, tuple(member.index for member in found), faults, _fingerprint(stamps))

    def __len__(self) -> int:
        return len(self.members)

    def frames(self, size: int) -> Iterator[Frames]:
        """Yield all frames; see `Source`."""
        for start in range(0, len(self), size):
            yield ZipFrames(self.path, self.members[start : start + size], _of_range(self.faults, start, size))


@dataclass(frozen=True)
class ParquetSource:
    """Rows of Parquet files with encoded pictures, or with paths of pictures.

    Attributes:
        tables: The files, each with the number of rows of each row group.
        column: Name of the column.
        fingerprint: See `Source`.
    """

    tables: tuple[tuple[Path, tuple[int, ...]], ...]
    column: str
    fingerprint: str

    @classmethod
    def of(cls, paths: Sequence[Path], column: str | None) -> "ParquetSource":
        """List Parquet files."""
        tables = []
        for path in paths:
            with open_parquet(path) as file:
                column = _column_of(path, file.schema_arrow, column)
                facts = file.metadata
                tables.append((path, tuple(facts.row_group(index).num_rows for index in range(facts.num_row_groups))))
        stamps = (b"%s\0%s\0%s" % (os.fsencode(path), _stamp(path), str(column).encode()) for path in paths)
        return cls(tuple(tables), str(column), _fingerprint(stamps))

    def __len__(self) -> int:
        return sum(sum(groups) for _, groups in self.tables)

    def frames(self, size: int) -> Iterator[Frames]:
        """Yield all frames; see `Source`. A row group begins a new chunk: an actor reads it from its start."""
        for path, groups in self.tables:
            row = 0
            for group, rows in enumerate(groups):
                for start in range(0, rows, size):
                    count = min(size, rows - start)
                    yield ParquetFrames(path, self.column, group, start, count, row + start)
                row += rows


def _column_of(path: Path, schema: Any, column: str | None) -> str:
    """Return the name of the column with pictures; the only one of that kind, if none is named."""
    kinds = {field.name: str(field.type) for field in schema}
    usable = [name for name, kind in kinds.items() if _holds_pictures(kind)]
    texts = [name for name, kind in kinds.items() if kind in ("string", "large_string")]
    candidates = usable or texts
    if column is None and len(candidates) == 1:
        return str(candidates[0])
    if column in usable or column in texts:
        return str(column)
    named = f"has no column {column!r} of pictures or paths" if column else "has no single column of pictures or paths"
    columns = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    raise ImageError(f"{path}: {named}; its columns are {columns}: name one of bytes or text with --column")


def _holds_pictures(kind: str) -> bool:
    return kind in ("binary", "large_binary") or (kind.startswith("struct<") and "bytes: binary" in kind)


def _of_range(faults: dict[int, str], start: int, size: int) -> dict[int, str]:
    return {index - start: faults[index] for index in range(start, start + size) if index in faults}


def _stamp(path: Path) -> bytes:
    """Return size and time of a file; nothing if it cannot be looked at, as a broken link."""
    try:
        status = path.stat()
    except OSError:
        return b""
    return b"%d %d" % (status.st_size, status.st_mtime_ns)


def _fingerprint(stamps: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for stamp in stamps:
        digest.update(b"%d\0%s" % (len(stamp), stamp))
    return digest.hexdigest()
