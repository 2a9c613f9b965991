"""Key files: small files that trust depends on, read and made with an eye on who else may read and change them."""

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from partsight.runtime.errors import KeyFileError, OutputError

PASSPHRASE_VARIABLE = "PARTSIGHT_KEY_PASSPHRASE"

_LARGEST_BYTES = 2**14
_LONGEST_PASSPHRASE = 1023  # of the library

Check = Callable[[Path, os.stat_result], None]


def read_key_file(path: Path, check: Check | None = None) -> bytes:
    """Return the bytes of a small file that trust depends on.

    Args:
        path: of the file.
        check: of its rights, on the file that is then read.

    Raises:
        KeyFileError: it cannot be read or is too large, or `check` refuses it.
    """
    try:
        with path.open("rb") as file:
            if check is not None:
                check(path, os.fstat(file.fileno()))
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read ({error}); name a file that you may read") from error
    if len(data) > _LARGEST_BYTES:
        raise KeyFileError(
            f"{path}: has more than {_LARGEST_BYTES} bytes; expected a key that `partsight keygen` wrote"
        )
    return data


def check_secret(path: Path, found: os.stat_result) -> None:
    """Refuse a file that others than its owner may read; Windows keeps rights elsewhere, and nothing is checked there.

    Raises:
        KeyFileError: they may.
    """
    if stat.S_ISREG(found.st_mode) and _allows(found, 0o077):  # a pipe is nobody else's
        raise KeyFileError(
            f"{path}: others than its owner may read it (mode {stat.S_IMODE(found.st_mode):o}); mend it with: "
            f"chmod 600 {path}. If somebody did, make a new one"
        )


def check_unwritable(path: Path, found: os.stat_result) -> None:
    """Refuse a file or folder that others than its owner may write to; as above on Windows.

    Raises:
        KeyFileError: they may.
    """
    if _allows(found, 0o022):
        raise KeyFileError(
            f"{path}: others than its owner may change it (mode {stat.S_IMODE(found.st_mode):o}), so that nothing in "
            f"it can be trusted; mend it with: chmod go-w {path}"
        )


def read_passphrase(file: str | Path | None) -> bytes | None:
    """Return a passphrase: never from a command line, which every user of a machine can read.

    Args:
        file: whose first line it is; None for the variable `PARTSIGHT_KEY_PASSPHRASE`.

    Returns:
        None where neither is there.

    Raises:
        KeyFileError: the file cannot be read, others may read it, or its first line is empty or too long.
    """
    if file is None:
        passphrase = os.environ.get(PASSPHRASE_VARIABLE, "").encode(errors="surrogateescape") or None
    else:
        passphrase = (read_key_file(Path(file), check_secret).splitlines() or [b""])[0]
    if passphrase is not None and not 1 <= len(passphrase) <= _LONGEST_PASSPHRASE:
        raise KeyFileError(
            f"{file or PASSPHRASE_VARIABLE}: the passphrase has {len(passphrase)} bytes; expected 1 to "
            f"{_LONGEST_PASSPHRASE}, in the first line"
        )
    return passphrase


def write_new(path: Path, data: bytes, mode: int, undo: contextlib.ExitStack) -> None:
    """Write a file that must not exist, with its rights from the first moment on.

    Args:
        path: of the file.
        data: its bytes.
        mode: who may do what, as for `os.open`.
        undo: is told how to remove the file, also one that was begun.

    Raises:
        OutputError: it exists or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        undo.callback(path.unlink)
        with open(descriptor, "wb") as file:  # noqa: PTH123 (of a descriptor)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise OutputError(f"{path}: exists already, and no key is overwritten; name another one") from error
    except OSError as error:
        raise OutputError(f"{path}: could not be written ({error}); nothing was left behind") from error


def _allows(found: os.stat_result, rights: int) -> bool:
    return os.name != "nt" and bool(stat.S_IMODE(found.st_mode) & rights)
