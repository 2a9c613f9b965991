"""Files and folders that are either whole or not there: docs/faults.md says what that means and how it is tested."""

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
"""Temporary files and folders of blocks that this process is in, and what each will be."""


def sha256_bytes(data: "bytes | mmap.mmap") -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def check_output_folder(path: Path) -> None:
    """Find out before hours of work whether a new folder can be made at `path`.

    Raises:
        OutputError: it exists, or its parent cannot be written to.
    """
    try:
        exists = path.exists() or path.is_symlink()
        if not exists:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary(path.absolute()) as probe:
                probe.mkdir()
    except OSError as error:
        raise OutputError(f"{path}: cannot be written there ({error}); name a folder that you may write to") from error
    if exists:
        raise OutputError(f"{path}: exists already, and nothing is overwritten; name another one, or remove it first")


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `path` when the block ends without an error.

    A block that fails leaves nothing behind; a process that is killed leaves a folder whose name starts
    with a dot and ends in `.partial`, which nothing loads and the next call for the same path removes.

    Raises:
        OutputError: `path` exists, or cannot be written (no permission, disk full).
    """
    check_output_folder(path)
    with _failing(path):
        target = path.absolute()
        if target in list(_being_written.values()):  # other threads change it
            raise FileExistsError(errno.EEXIST, "it is being written already")
        with temporary(target) as partial:
            partial.mkdir()
            yield partial
            _flush_folder(partial)
            partial.rename(target)
        with contextlib.suppress(OSError):  # it is there; only a power cut could still undo it
            flush(target.parent)


@contextlib.contextmanager
def new_file(path: Path, *, is_flushed: bool = True) -> Iterator[BinaryIO]:
    """Give a file to write to that becomes `path` when the block ends without an error, in place of what was there.

    A reader sees all of it or the file as it was before; see `new_folder` for what a failure leaves.

    Args:
        path: of the file; folders above it are made.
        is_flushed: so that a power cut finds it whole. Without, it is for what is checked when it is read.

    Raises:
        OutputError: it cannot be written (no permission, disk full).
    """
    with _failing(path):
        target = path.absolute()
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary(target) as partial:
            # Not a file of `tempfile`: other users could not read it.
            with partial.open("xb") as file:
                yield file
                if is_flushed:
                    file.flush()
                    os.fsync(file.fileno())
            partial.replace(target)


def write_file(path: Path, data: bytes, *, is_flushed: bool = True) -> None:
    """Write `data` to `path`; see `new_file`.

    Raises:
        OutputError: it cannot be written.
    """
    with new_file(path, is_flushed=is_flushed) as file:
        file.write(data)


def is_temporary(name: str, target: str) -> bool:
    """Tell whether a name is that of a temporary file for one called `target`, which may be left of a kill."""
    return _temporary_names(target).fullmatch(name) is not None


@contextlib.contextmanager
def temporary(target: Path) -> Iterator[Path]:
    """Give the name of a temporary file or folder for `target`, and remove what is left of it in the end.

    Args:
        target: an absolute path, in a folder that is there.
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
    """Yield the temporary files and folders for `target` of processes that were killed; raises OSError."""
    pattern = _temporary_names(target.name)
    for path in target.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and path not in _being_written and not _is_another_process(int(match[1])):
            yield path


def reserve(file: IO[bytes], size: int) -> None:
    """Take `size` bytes of the disk for a file before it is mapped: a write to a map on a full disk ends the process.

    Raises:
        OSError: the disk has no room for it.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    block = bytes(2**20)
    for start in range(0, size, len(block)):
        file.write(block[: size - start])
    file.flush()


@contextlib.contextmanager
def scratch(what: str) -> Iterator[None]:
    """Name the system's folder for temporary files in errors of a block that writes there.

    Args:
        what: is written, for the message.

    Raises:
        OutputError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        folder = tempfile.tempdir or "the folder for temporary files"
        raise OutputError(
            f"{folder}: takes no {what} ({error}); free some disk there, or name another folder in the environment "
            "variable TMPDIR"
        ) from error


@contextlib.contextmanager
def _failing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mend = "free some disk and try again" if is_full else "may you write there, and is nobody else doing so?"
        raise OutputError(f"{path}: could not be written ({error}); {mend}") from error


def _temporary_names(target: str) -> re.Pattern[str]:
    """Return the form of names of temporary files; its group is the number of the process."""
    return re.compile(rf"\.{re.escape(target)}\.([0-9]+)(?:-[0-9]+)?{re.escape(_PARTIAL)}", re.ASCII)


def _remove(path: Path) -> None:
    """Remove a file or folder if it is there; what cannot be removed is for the next run."""
    if os.path.isdir(path):  # noqa: PTH112 (on a broken disk Path.is_dir raises)
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Flush every file and name to the disk, so that a power cut after the rename finds them whole."""
    for path in (folder, *folder.rglob("*")):
        if path.is_file() or path.is_dir():
            flush(path)


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk.

    Raises:
        OSError: the disk failed, or its file system flushes no folder.
    """
    if os.name == "nt":
        if path.is_dir():
            return  # Windows opens no folder, and keeps names in a journal
        flags = os.O_RDWR  # it flushes only what may be written to
    else:
        flags = os.O_RDONLY
    file = os.open(path, flags)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _is_another_process(pid: int) -> bool:
    if pid == os.getpid():  # in a container, often that of the process that was killed
        return False
    if os.name == "nt":  # os.kill would end the process there
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
