"""Files and folders that are written whole or not at all; docs/faults.md explains the guarantee and its tests."""

import contextlib
import errno
import hashlib
import itertools
import mmap
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from partsight.runtime.core.errors import OutputError

_PARTIAL = ".partial"
_numbers = itertools.count(1)
_being_written: dict[Path, Path] = {}
"""Temporary files and folders that this process writes now, each with its target."""


def sha256_bytes(data: "bytes | mmap.mmap") -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def check_output_folder(path: Path) -> None:
    """Check before hours of work that a new folder can be made at `path`.

    Raises:
        OutputError: `path` exists, or its parent cannot be written.
    """
    try:
        exists = path.exists() or path.is_symlink()
        if not exists:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary(path.absolute()) as probe:
                probe.mkdir()
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error}); name a folder that you can write to") from error
    if exists:
        raise OutputError(f"{path}: exists, and partsight overwrites nothing; name another folder, or remove this one")


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an error.

    A block that fails leaves nothing behind. A process that is killed leaves a folder whose name starts with a dot and
    ends in `.partial`: partsight never loads it, and the next call for the same path removes it.

    Raises:
        OutputError: `path` exists, or cannot be written (no permission, disk full).
    """
    check_output_folder(path)
    with _failing(path):
        target = path.absolute()
        if target in list(_being_written.values()):  # a copy: other threads change the dictionary
            raise FileExistsError(errno.EEXIST, "another thread writes it now")
        with temporary(target) as partial:
            partial.mkdir()
            yield partial
            _flush_folder(partial)
            partial.rename(target)
        with contextlib.suppress(OSError):  # the folder is in place; only a power cut could still undo the rename
            flush(target.parent)


@contextlib.contextmanager
def new_file(path: Path, *, is_flushed: bool = True) -> Iterator[BinaryIO]:
    """Yield a temporary file that replaces `path` when the block ends without an error.

    A reader sees the new file whole, or the old one. After a failure the same is left as by `new_folder`.

    Args:
        path: Path of the file; missing folders above it are made.
        is_flushed: Whether the file survives a power cut whole. Without, use it only for data with a checksum.

    Raises:
        OutputError: the file cannot be written (no permission, disk full).
    """
    with _failing(path):
        target = path.absolute()
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary(target) as partial:
            # `tempfile` would make a file that other users cannot read.
            with partial.open("xb") as file:
                yield file
                if is_flushed:
                    file.flush()
                    os.fsync(file.fileno())
            partial.replace(target)


def write_file(path: Path, data: bytes, *, is_flushed: bool = True) -> None:
    """Write `data` to `path`; see `new_file`.

    Raises:
        OutputError: the file cannot be written.
    """
    with new_file(path, is_flushed=is_flushed) as file:
        file.write(data)


def is_temporary(name: str, target: str) -> bool:
    """Return whether `name` is the name of a temporary file for `target`, as a killed process leaves it."""
    return _temporary_names(target).fullmatch(name) is not None


@contextlib.contextmanager
def temporary(target: Path) -> Iterator[Path]:
    """Yield the path of a temporary file or folder for `target`, and remove it at the end if it is still there.

    Args:
        target: Absolute path in a folder that exists.
    """
    partial = target.parent / f".{target.name}.{os.getpid()}-{next(_numbers)}{_PARTIAL}"
    _being_written[partial] = target
    try:
        for path in leftovers(target):
            _remove(path)
        yield partial
    finally:
        _remove(partial)
        del _being_written[partial]


def leftovers(target: Path) -> Iterator[Path]:
    """Yield the temporary files and folders that killed processes left for `target`; raises OSError."""
    pattern = _temporary_names(target.name)
    for path in target.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and path not in _being_written and not _is_another_process(int(match[1])):
            yield path


def reserve(file: IO[bytes], size: int) -> None:
    """Reserve disk space for a file before it is mapped: a write to a map on a full disk ends the process.

    Args:
        file: File, open for writing, empty.
        size: Space in bytes.

    Raises:
        OSError: the disk has too little space.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    block = bytes(2**20)
    for start in range(0, size, len(block)):
        file.write(block[: size - start])
    file.flush()


@contextlib.contextmanager
def scratch(contents: str) -> Iterator[None]:
    """Turn an OSError of a block that writes temporary files into an OutputError that names their folder.

    Args:
        contents: Name of the contents, for the message.

    Raises:
        OutputError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        folder = tempfile.tempdir or "the folder for temporary files"
        raise OutputError(
            f"{folder}: cannot store {contents} ({error}); free disk space there, or set the environment variable "
            "TMPDIR to another folder"
        ) from error


@contextlib.contextmanager
def _failing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free disk space" if is_full else "name a folder that you can write to and no other program writes to"
        raise OutputError(f"{path}: could not be written ({error}); {remedy}") from error


def _temporary_names(target: str) -> re.Pattern[str]:
    """Return the pattern of names of temporary files; its group is the number of the process."""
    return re.compile(rf"\.{re.escape(target)}\.([0-9]+)(?:-[0-9]+)?{re.escape(_PARTIAL)}", re.ASCII)


def _remove(path: Path) -> None:
    """Remove a file or folder if it is there; the next call for the same target tries again after a failure."""
    if os.path.isdir(path):  # noqa: PTH112 (on a broken disk Path.is_dir raises)
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Flush every file and name to the disk, so that the folder is whole after a power cut."""
    for path in (folder, *folder.rglob("*")):
        if path.is_file() or path.is_dir():
            flush(path)


def flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk.

    Raises:
        OSError: the disk failed, or its file system cannot flush a folder.
    """
    if os.name == "nt":
        if path.is_dir():
            return  # Windows cannot open a folder, and keeps names in a journal
        flags = os.O_RDWR  # Windows flushes only a file that is open for writing
    else:
        flags = os.O_RDONLY
    file = os.open(path, flags)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _is_another_process(pid: int) -> bool:
    if pid == os.getpid():  # in a container, a new process often has the number of the killed one
        return False
    if os.name == "nt":  # os.kill would end that process on Windows
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
