"""Frames by reference: pictures in files, in members of a zip file, or in rows of a Parquet file."""

import os
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from partsight.runtime.core import ImageError, Pixels, import_extra
from partsight.runtime.images import MAX_PIXELS, decode_image, read_image

MAX_FILE_BYTES = 4 * MAX_PIXELS
"""Limit of an encoded picture: no usable one is larger, but a member of a zip file may unpack to anything."""

ROWS = 64
"""Rows of a Parquet file that are in memory at a time."""


@dataclass(frozen=True)
class Reference:
    """A frame that is not read yet.

    Attributes:
        source: Its origin, for people: the path of a file, or the archive's path and the place in it.
        read: Function that reads it. It raises ImageError.
    """

    source: str
    read: Callable[[], Pixels]


class Frames(Protocol):
    """Frames of one kind, which pickle to a few bytes each."""

    @property
    def place(self) -> Path:
        """Folder or file that holds them; each machine must have it at this path."""

    def __len__(self) -> int: ...

    def references(self) -> Generator[Reference, None, None]:
        """Yield a reference to each frame, in order; the pixels are not in memory.

        Raises:
            ImageError: The file that holds the frames cannot be read.
        """


@dataclass(frozen=True)
class FileFrames:
    """Image files.

    Attributes:
        place: Folder that holds them.
        names: Path of each file in the folder, as the file system has it.
        faults: Cause, by index, of a file that cannot be used.
    """

    place: Path
    names: Sequence[bytes]
    faults: dict[int, str]

    def __len__(self) -> int:
        return len(self.names)

    def references(self) -> Generator[Reference, None, None]:
        """Yield a reference to each frame; see `Frames`."""
        for index, name in enumerate(self.names):
            path = self.place / os.fsdecode(name)
            fault = self.faults.get(index)
            yield Reference(str(path), partial(read_image, path) if fault is None else partial(_refuse, path, fault))


@dataclass(frozen=True)
class ZipFrames:
    """Members of a zip file.

    Attributes:
        place: Zip file.
        members: Index of each member in the file's list.
        faults: Cause, by index among `members`, of a member that cannot be used.
    """

    place: Path
    members: Sequence[int]
    faults: dict[int, str]

    def __len__(self) -> int:
        return len(self.members)

    def references(self) -> Generator[Reference, None, None]:
        """Yield a reference to each frame; see `Frames`. The file is open until the generator ends."""
        with open_zip(self.place) as archive:
            listed = archive.infolist()
            for index, member in enumerate(self.members):
                name = f"{self.place}/{listed[member].filename}"
                fault = self.faults.get(index)
                read = partial(_decode_member, archive, listed[member], name)
                yield Reference(name, read if fault is None else partial(_refuse, name, fault))


@dataclass(frozen=True)
class ParquetFrames:
    """Rows of one row group of a Parquet file.

    Attributes:
        place: Parquet file.
        column: Name of its column with pictures or paths.
        group: Index of the row group.
        start: Index of the first row in the group.
        count: Number of rows.
        row: Index of the first row in the file.
    """

    place: Path
    column: str
    group: int
    start: int
    count: int
    row: int

    def __len__(self) -> int:
        return self.count

    def references(self) -> Generator[Reference, None, None]:
        """Yield a reference to each frame; see `Frames`. A few encoded pictures are in memory."""
        row = self.row
        with open_parquet(self.place) as file:
            try:
                for value in self._values(file):
                    yield self._reference(value, row)
                    row += 1
            except (OSError, ValueError) as error:  # pyarrow's own errors are both
                for left in range(row, self.row + self.count):
                    name = f"{self.place}#{left}"
                    yield Reference(name, partial(_refuse, name, f"the file is damaged here ({error}); copy it again"))

    def _values(self, file: Any) -> Iterator[Any]:
        position = 0
        for batch in file.iter_batches(ROWS, row_groups=[self.group], columns=[self.column]):
            first, last = max(self.start - position, 0), min(self.start + self.count - position, len(batch))
            yield from (batch.column(0)[index].as_py() for index in range(first, last))
            position += len(batch)
            if position >= self.start + self.count:
                return

    def _reference(self, value: Any, row: int) -> Reference:
        name = f"{self.place}#{row}"
        if isinstance(value, dict):  # as other programs write pictures: their bytes, or else their path
            name = f"{name} ({value['path']})" if value.get("path") else name
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return Reference(name, partial(decode_image, value, name))
        if isinstance(value, str):
            path = self.place.parent / value
            return Reference(str(path), partial(read_image, path))
        return Reference(name, partial(_refuse, name, f"the column {self.column!r} is empty here; expected a picture"))


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip file.

    Raises:
        ImageError: It is missing or damaged.
    """
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise ImageError(f"{path}: cannot be read as a zip file ({error}); copy it again") from error


def open_parquet(path: Path) -> Any:
    """Open a Parquet file, a pyarrow.parquet.ParquetFile.

    Raises:
        ImageError: It is missing or damaged.
        DependencyError: pyarrow is not installed.
    """
    parquet, arrow = import_extra("pyarrow.parquet", "ray"), import_extra("pyarrow", "ray")
    try:
        return parquet.ParquetFile(path, memory_map=True)
    except (OSError, arrow.ArrowException) as error:
        raise ImageError(f"{path}: cannot be read as a Parquet file ({error}); copy it again") from error


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    """Return the first bytes of a member of a zip file.

    Raises:
        OSError: It is damaged, encrypted, or packed in an unknown way.
    """
    try:
        with archive.open(member) as file:
            return file.read(limit)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise OSError(f"{error}; pack the archive again, without a password") from error


def _decode_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> Pixels:
    if member.file_size > MAX_FILE_BYTES:
        _refuse(name, f"has {member.file_size:,} bytes; expected a picture of at most {MAX_FILE_BYTES:,}")
    try:
        data = read_member(archive, member, MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError(f"{name}: cannot be unpacked ({error})") from error
    return decode_image(data, name)


def _refuse(source: object, fault: str) -> Pixels:
    raise ImageError(f"{source}: {fault}")
