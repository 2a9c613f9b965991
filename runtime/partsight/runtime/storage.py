"""Files and folders that are either whole or not there."""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from partsight.runtime.errors import OutputError

_PARTIAL = ".partial"
_being_written: set[Path] = set()
"""Temporary folders of blocks that this process is in."""


def sha256_bytes(data: bytes) -> str:
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
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=_PARTIAL):
                pass
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
    target = path.absolute()
    partial = target.parent / f".{path.name}.{os.getpid()}{_PARTIAL}"
    try:
        _remove_leftovers(target)
        partial.mkdir()
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({error}); is it being written already?") from error
    _being_written.add(partial)
    try:
        yield partial
        _sync(partial)
        partial.rename(target)
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({error}); nothing was left behind") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        _being_written.discard(partial)


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees all of it or the file as it was before.

    Raises:
        OutputError: it cannot be written.
    """
    # Not a file of `tempfile`: other users could not read it.
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({error})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _sync(folder: Path) -> None:
    """Flush every file to the disk, so that a power cut after the rename finds them whole."""
    mode = "rb+" if os.name == "nt" else "rb"  # Windows flushes only what may be written to
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open(mode) as file:
                os.fsync(file.fileno())


def _remove_leftovers(target: Path) -> None:
    """Remove the temporary folders for `target` of processes that were killed."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.([0-9]+){re.escape(_PARTIAL)}")
    for path in target.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and path not in _being_written and not _is_another_process(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


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
