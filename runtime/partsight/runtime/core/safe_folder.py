"""The folder of a package: plain files with plain names, read up to a size limit; no path leads outside."""

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

# Names of one file on every system: no drive, stream, short name or device of Windows, no hidden file, and no letter
# that Unicode writes in two ways.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}){0,3}", re.ASCII)
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE | re.ASCII)
_JUNCTION = 0xA0000003  # a link to a folder on Windows (IO_REPARSE_TAG_MOUNT_POINT)

_BLOCK = 2**20
# Do not follow a link, do not wait for a pipe, do not change line ends on Windows.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def check_name(folder: Path, name: str) -> None:
    """Refuse a name that is not the name of one file in the package's folder on every operating system.

    Raises:
        PackageError: the name is refused, or is the name of the manifest or of the signature file.
    """
    parts = name.split("/")
    is_plain = _NAME.fullmatch(name) and not any(part.endswith(".") or _DEVICE.fullmatch(part) for part in parts)
    if not is_plain or name.lower() in (MANIFEST_NAME, SIGNATURE_NAME):
        raise PackageError(
            f"{folder}: the manifest names {name!r}, which can lie outside the package or mean another file; expected "
            "letters, digits and . _ - with / between folders: do not use this package, and export it again"
        )


def check_names(folder: Path, files: Iterable[tuple[str, str]]) -> None:
    """Refuse names that `check_name` refuses, or that are the same file on some operating system.

    Args:
        folder: Folder of the package.
        files: Name and SHA-256 of each file. The same pair may occur twice.

    Raises:
        PackageError: a name is refused, has two SHA-256, or differs from another name only in case.
    """
    known: dict[str, tuple[str, str]] = {}
    for name, sha256 in files:
        check_name(folder, name)
        if known.setdefault(name.lower(), (name, sha256)) != (name, sha256):
            raise PackageError(
                f"{folder}: the manifest names {name} twice, with different contents or in different case; do not use "
                "this package, and export it again"
            )


def find_files(folder: Path, names: Collection[str]) -> set[str]:
    """Return the paths of all entries of a package's folder, with forward slashes; a folder's path ends in a slash.

    Args:
        folder: Folder of the package.
        names: Paths of expected files. Only folders that hold one of them are listed.

    Raises:
        PackageError: an entry is a link, device or the like, or the folder cannot be read.
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
                        f"{folder}: {inside}{entry.name} is a link or device; expected a file: copy the package "
                        "again, with files in place of links"
                    )
                yield entry.name, is_folder
    except OSError as error:
        raise PackageError(
            f"{folder}: {inside or 'the folder'} cannot be read ({error}); make it readable for this user"
        ) from error


def _is_link(entry: "os.DirEntry[str]") -> bool:
    if os.name != "nt":
        return entry.is_symlink()
    return entry.is_symlink() or getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0) == _JUNCTION


class HeldFolder:
    """A folder that was opened once: a rename, or a link put in its place, leads to no other folder afterwards.

    Windows cannot open a folder; there it is the folder that links led to at first.
    """

    def __init__(self, path: Path) -> None:
        """Open the folder.

        Raises:
            OSError: there is no such folder, or this user cannot open it.
        """
        self._path = path
        self._real, self._descriptor = path.resolve(strict=True), None
        if os.open in os.supports_dir_fd:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            weakref.finalize(self, os.close, self._descriptor)

    def __str__(self) -> str:
        return str(self._path)

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        """Let a copy in another process open the folder again: the descriptor means another file there."""
        return type(self), (self._real,)

    def open(self, name: str) -> int:
        """Return a descriptor of a file in the folder; raises OSError."""
        if self._descriptor is None:
            return os.open(self._real / name, _FLAGS)
        return os.open(name, _FLAGS, dir_fd=self._descriptor)


def read_file(folder: Path | HeldFolder, name: str, max_bytes: int) -> bytes:
    """Return the bytes of a file in a package's folder.

    Args:
        folder: Folder of the package.
        name: Name of the file.
        max_bytes: Size limit in bytes; a larger file is not read.

    Raises:
        PackageError: the file cannot be read, is a link or not a file, or is too large.
    """
    with _open(folder, name, max_bytes) as (file, size):
        return file.read(size)


def map_file(folder: Path | HeldFolder, name: str, max_bytes: int) -> mmap.mmap:
    """Return a file of a package's folder, mapped into memory; the system reads each page at its first use.

    Raises:
        PackageError: see `read_file`; or the file is empty.
    """
    with _open(folder, name, max_bytes) as (file, size):
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)


def hash_file(folder: Path | HeldFolder, name: str, max_bytes: int) -> str:
    """Return the SHA-256 of a file in hexadecimal, block by block; raises as `read_file`."""
    digest = hashlib.sha256()
    with _open(folder, name, max_bytes) as (file, size):
        for start in range(0, size, _BLOCK):
            digest.update(file.read(min(size - start, _BLOCK)))
    return digest.hexdigest()


@contextlib.contextmanager
def _open(folder: Path | HeldFolder, name: str, max_bytes: int) -> Iterator[tuple[BinaryIO, int]]:
    """Yield an open file and its size in bytes; the caller reads no further, even if another program appends."""
    try:
        descriptor = folder.open(name) if isinstance(folder, HeldFolder) else os.open(folder / name, _FLAGS)
        with open(descriptor, "rb") as file:  # noqa: PTH123 (of a descriptor)
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise PackageError(f"{folder}: {name} is not a file; copy the package again")
            if found.st_size > max_bytes:
                raise PackageError(
                    f"{folder}: {name} has {found.st_size} bytes; expected at most {max_bytes}: copy the package again"
                )
            yield file, found.st_size
    except (OSError, ValueError, MemoryError) as error:
        why = str(error) or "too little memory"
        raise PackageError(
            f"{folder}: {name} cannot be read ({why}); expected a folder that `partsight export` wrote: copy the "
            "package again"
        ) from error
