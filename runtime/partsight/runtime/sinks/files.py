"""Locks, folders and identities of the files of sinks."""

import errno
import os
import shlex
from pathlib import Path

from partsight.runtime.core import SinkError, flush

_KEPT_OTHERWISE = (errno.EACCES, errno.EINVAL, errno.ENOTSUP)
"""Errors of file systems that flush no folder, and of an unreadable folder; a retry cannot help."""


def lock_file(fd: int, path: Path) -> None:
    """Let no other program write into the file. On Windows it does nothing: a lock there also stops readers.

    Raises:
        SinkError: another program has the lock, or the file system has no locks.
    """
    try:
        import fcntl  # noqa: PLC0415 (POSIX alone)
    except ImportError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise SinkError(
            f"{path}: another sink writes into it ({error}); give each its own file, or end the other program"
        ) from error
    except OSError as error:
        raise SinkError(
            f"{path}: cannot be locked ({error}), and two programs could write into it at once; expected a file system "
            "with locks: name a file on a disk of this machine"
        ) from error


def check_folder(path: Path) -> None:
    """Refuse a file or folder whose parent folder is missing: a disk may not be mounted, or the path is wrong.

    Raises:
        SinkError: the parent folder is missing, is a file, or cannot be read.
    """
    folder = path.parent
    if os.path.isfile(folder):  # noqa: PTH113
        raise SinkError(f"{path}: {folder} is a file; expected a folder: correct the path")
    if not os.path.isdir(folder):  # noqa: PTH112 (Path.is_dir raises where it may not look)
        command = f'mkdir "{folder}"' if os.name == "nt" else f"mkdir -p {shlex.quote(str(folder))}"
        raise SinkError(
            f"{path}: there is no folder {folder}, and partsight makes none; mount its disk, correct the path, or run "
            f"`{command}`"
        )


def flush_folder(folder: Path) -> None:
    """Flush the names of files to the disk, so that they survive a power cut.

    Raises:
        OSError: the disk failed.
    """
    try:
        flush(folder)
    except OSError as error:
        if error.errno not in _KEPT_OTHERWISE:
            raise


def file_identity(file: Path | int) -> tuple[int, int] | None:
    """Return the identity of a file, given by its path or its descriptor; None if there is no file.

    On Windows it is the same for all files: an open file can be neither removed nor replaced there, and some file
    systems number their files anew.
    """
    try:
        found = os.stat(file)  # noqa: PTH116 (of a descriptor, too)
    except OSError:
        return None
    return (0, 0) if os.name == "nt" else (found.st_dev, found.st_ino)
