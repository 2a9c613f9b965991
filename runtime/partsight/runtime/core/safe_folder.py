"""The folder of a package: plain files under plain names, read within bounds, and nothing outside of it."""

import contextlib
import hashlib
import mmap
import os
import re
import stat
import weakref
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Self

from partsight.runtime.core.errors import PackageError

MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "signature.json"

# Letters that are one file on every system: no drive, stream, short name or device of Windows, nothing hidden, and
# nothing that Unicode writes in two ways.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}){0,3}", re.ASCII)
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE | re.ASCII)
_JUNCTION = 0xA0000003  # a link to a folder on Windows (IO_REPARSE_TAG_MOUNT_POINT)

_BLOCK = 2**20
# A link is not followed, a pipe is not waited for, and Windows changes no line ends.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def check_name(folder: Path, name: str) -> None:
    """Refuse a name that is not, on every operating system, that of one file in the package's folder.

    Raises:
        PackageError: it is not; names of the manifest and of the signature are not either.
    """
    parts = name.split("/")
    is_plain = _NAME.fullmatch(name) and not any(part.endswith(".") or _DEVICE.fullmatch(part) for part in parts)
    if not is_plain or name.lower() in (MANIFEST_NAME, SIGNATURE_NAME):
        raise PackageError(
            f"{folder}: the manifest names {name!r}, which may lie outside the package or be no file; do not use it. "
            "Names that partsight writes are letters, digits and . _ - with / between folders"
        )


def check_names(folder: Path, files: Iterable[tuple[str, str]]) -> None:
    """Refuse names of files and their SHA-256 that do not go together, on any operating system.

    Raises:
        PackageError: a name is refused by `check_name`, stands for two contents, or differs from another in case alone.
    """
    known: dict[str, tuple[str, str]] = {}
    for name, sha256 in files:
        check_name(folder, name)
        if known.setdefault(name.lower(), (name, sha256)) != (name, sha256):
            raise PackageError(
                f"{folder}: the manifest names {name} twice, with other contents or in another case; do not use it"
            )


def find_files(folder: Path, names: Collection[str]) -> set[str]:
    """Return what lies in a package's folder: files by their path with forward slashes, folders with one at the end.

    Args:
        folder: of the package.
        names: files that may be there. A folder that has none of them is not looked into.

    Raises:
        PackageError: there is a link, or something that is no file; or it cannot be read.
    """
    folders = {f"{parent}/" for parent in {name.rpartition("/")[0] for name in names} for parent in _upwards(parent)}
    found: set[str] = set()
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        for name, is_folder in _list(folder, inside):
            path = f"{inside}{name}{'/' if is_folder else ''}"
            if path in folders:
                waiting.append(path)
            else:
                found.add(path)
    return found


def _upwards(folder: str) -> Iterator[str]:
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def _list(folder: Path, inside: str) -> Iterator[tuple[str, bool]]:
    """Yield the name of each entry, and whether it is a folder."""
    try:
        with os.scandir(folder / inside) as entries:
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                if _is_link(entry) or not (is_folder or entry.is_file(follow_symlinks=False)):
                    raise PackageError(
                        f"{folder}: {inside}{entry.name} is a link or no file; a package holds files alone: copy the "
                        "package again, with what the link names in its place"
                    )
                yield entry.name, is_folder
    except OSError as error:
        raise PackageError(f"{folder}: {inside or 'the folder'} cannot be read ({error}); may you read it?") from error


def _is_link(entry: "os.DirEntry[str]") -> bool:
    if os.name != "nt":
        return entry.is_symlink()
    return entry.is_symlink() or getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0) == _JUNCTION


class HeldFolder:
    """A folder that stays the one that was opened, whatever is renamed or linked to in its place meanwhile.

    Windows opens no folder; there it is the one that links led to.
    """

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            OSError: there is none, or it may not be opened.
        """
        self._path = path
        self._real, self._descriptor = path.resolve(strict=True), None
        if os.open in os.supports_dir_fd:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            weakref.finalize(self, os.close, self._descriptor)

    def __str__(self) -> str:
        return str(self._path)

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        """Have a copy, and one in another process, open the folder itself: a descriptor means another file there."""
        return type(self), (self._real,)

    def open(self, name: str) -> int:
        """Return a descriptor of a file in it; raises OSError."""
        if self._descriptor is None:
            return os.open(self._real / name, _FLAGS)
        return os.open(name, _FLAGS, dir_fd=self._descriptor)


def read_file(folder: Path | HeldFolder, name: str, largest: int) -> bytes:
    """Return the bytes of a file in a package's folder.

    Args:
        folder: of the package.
        name: of the file.
        largest: how many bytes it may have; of a larger one nothing is read.

    Raises:
        PackageError: it cannot be read, is a link or no file, or is too large.
    """
    with _open(folder, name, largest) as (file, size):
        return file.read(size)


def map_file(folder: Path | HeldFolder, name: str, largest: int) -> mmap.mmap:
    """Return a file of a package's folder, mapped into memory: pages are read when they are first needed.

    Raises:
        PackageError: as of `read_file`, or it is empty.
    """
    with _open(folder, name, largest) as (file, size):
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)


def hash_file(folder: Path | HeldFolder, name: str, largest: int) -> str:
    """Return the SHA-256 of a file as `read_file` reads it, in hexadecimal, without holding it in memory."""
    digest = hashlib.sha256()
    with _open(folder, name, largest) as (file, size):
        for start in range(0, size, _BLOCK):
            digest.update(file.read(min(size - start, _BLOCK)))
    return digest.hexdigest()


@contextlib.contextmanager
def _open(folder: Path | HeldFolder, name: str, largest: int) -> Iterator[tuple[BinaryIO, int]]:
    """Give an open file and its size; what is appended meanwhile is not read."""
    try:
        descriptor = folder.open(name) if isinstance(folder, HeldFolder) else os.open(folder / name, _FLAGS)
        with open(descriptor, "rb") as file:  # noqa: PTH123 (of a descriptor)
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise PackageError(f"{folder}: {name} is no file; copy the package again")
            if found.st_size > largest:
                raise PackageError(f"{folder}: {name} has {found.st_size} bytes; expected at most {largest}")
            yield file, found.st_size
    except (OSError, ValueError, MemoryError) as error:
        why = str(error) or "there is too little memory"
        raise PackageError(
            f"{folder}: {name} cannot be read ({why}); copy the package again; expected a folder that "
            "`partsight export` wrote"
        ) from error
