"""What sinks need of files beside reading and writing: that nobody else writes, that names last, and whose they are."""

import errno
import os
import shlex
from pathlib import Path

from partsight.runtime.core import SinkError, flush

_KEPT_OTHERWISE = (errno.EACCES, errno.EINVAL, errno.ENOTSUP)
"""Answers of file systems that flush no folder, and of a folder that may not be read; no waiting will mend them."""


def lock_file(fd: int, path: Path) -> None:
    """Let no other program write into the file. Windows has no lock that readers would not feel.

    Raises:
        SinkError: another program does, or its file system has no locks.
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


def need_folder(path: Path) -> None:
    """Refuse a file or folder whose own folder is not there: it may be a disk that is not mounted, or a slip.

    Raises:
        SinkError: it is not there, is a file, or may not be looked into.
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
    """Bring the names of files to the disk, so that a power cut finds them.

    Raises:
        OSError: the disk failed.
    """
    try:
        flush(folder)
    except OSError as error:
        if error.errno not in _KEPT_OTHERWISE:
            raise


def identity(file: Path | int) -> tuple[int, int] | None:
    """Return what tells a file, by its path or open, from any other; None if there is none.

    On Windows it is the same for all: a file that is open can be neither removed nor replaced there, and not every file
    system of it numbers files for good.
    """
    try:
        found = os.stat(file)  # noqa: PTH116 (of one that is open, too)
    except OSError:
        return None
    return (0, 0) if os.name == "nt" else (found.st_dev, found.st_ino)
