"""Key and passphrase files: the module checks who else can read or change them, and writes them with safe rights."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from partsight.runtime.core.errors import KeyFileError, OutputError
from partsight.runtime.core.storage import leftovers, temporary

PASSPHRASE_VARIABLE = "PARTSIGHT_KEY_PASSPHRASE"

_MAX_BYTES = 2**14
_MAX_PASSPHRASE = 1023  # limit of the package `cryptography`

Check = Callable[[Path, os.stat_result], None]


def read_key_file(path: Path, check: Check | None = None) -> bytes:
    """Return the bytes of a key or passphrase file.

    Args:
        path: Path of the file.
        check: Check of the rights of the file that is then read; None for no check.

    Raises:
        KeyFileError: the file cannot be read or is too large, or `check` refuses it.
    """
    try:
        with path.open("rb") as file:
            if check is not None:
                check(path, os.fstat(file.fileno()))
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read ({error}); name a file that you can read") from error
    if len(data) > _MAX_BYTES:
        raise KeyFileError(f"{path}: has more than {_MAX_BYTES} bytes; expected a key that `partsight keygen` wrote")
    return data


def check_secret(path: Path, found: os.stat_result) -> None:
    """Refuse a file that other users than its owner can read. On Windows nothing is checked: rights work differently.

    Args:
        path: Path of the file, for the message.
        found: Status of the open file.

    Raises:
        KeyFileError: other users can read the file.
    """
    if stat.S_ISREG(found.st_mode) and _allows(found, 0o077):  # nobody else can read a pipe
        if path.suffix == ".pub":
            raise KeyFileError(f"{path}: is a public key by its name; expected the private key, {path.with_suffix('')}")
        raise KeyFileError(
            f"{path}: other users than its owner can read it (mode {stat.S_IMODE(found.st_mode):o}); run "
            f"`chmod 600 {path}`. If another user has read it, make a new one"
        )


def check_unwritable(path: Path, found: os.stat_result) -> None:
    """Refuse a file or folder that other users than its owner can change; see `check_secret`.

    Raises:
        KeyFileError: other users can change the file or folder.
    """
    if _allows(found, 0o022):
        raise KeyFileError(
            f"{path}: other users than its owner can change it (mode {stat.S_IMODE(found.st_mode):o}), so partsight "
            f"does not trust it; run `chmod go-w {path}`"
        )


def read_passphrase(file: str | Path | None) -> bytes | None:
    """Return a passphrase from a file or the environment: every user of a machine can read command lines.

    Args:
        file: Path of a file whose first line is the passphrase; None for the environment variable
            `PARTSIGHT_KEY_PASSPHRASE`.

    Returns:
        Passphrase; None if `file` is None and the variable is empty or not set.

    Raises:
        KeyFileError: the file cannot be read, other users can read it, or its first line is empty or too long.
    """
    if file is None:
        passphrase = os.environ.get(PASSPHRASE_VARIABLE, "").encode(errors="surrogateescape") or None
    else:
        passphrase = (read_key_file(Path(file), check_secret).splitlines() or [b""])[0]
    if passphrase is not None and not 1 <= len(passphrase) <= _MAX_PASSPHRASE:
        raise KeyFileError(
            f"{file or PASSPHRASE_VARIABLE}: the passphrase has {len(passphrase)} bytes; expected a first line of 1 to "
            f"{_MAX_PASSPHRASE} bytes"
        )
    return passphrase


def write_pair(path: Path, secret: bytes, public_path: Path, public: bytes) -> None:
    """Write a private key, which only its owner can read, and its public key; both appear whole, or neither.

    A killed process may leave the public key without the private one, so useless. Then a temporary file next to it is a
    hard link to the same file, which shows that this process wrote it. The next call for the same path removes both.

    Args:
        path: Path of the private key; must not exist.
        secret: Bytes of the private key.
        public_path: Path of the public key, in the same folder; must not exist.
        public: Bytes of the public key.

    Raises:
        OutputError: one of the files exists or cannot be written.
    """
    path, public_path = path.absolute(), public_path.absolute()
    try:
        _remove_lone(public_path, path)
        with temporary(path) as new, temporary(public_path) as new_public:
            _write(new, secret, 0o600)
            _write(new_public, public, 0o644)
            with contextlib.ExitStack() as undo:
                _appear(new_public, public_path)
                undo.callback(_unlink, public_path)
                _refuse_existing(path)
                new.rename(path)
                undo.pop_all()
    except FileExistsError as error:
        raise OutputError(f"{error.filename}: exists, and partsight overwrites no key; name another file") from error
    except OSError as error:
        raise OutputError(
            f"{path}: could not be written ({error}); name a folder that you can write to, on a disk with free space"
        ) from error


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file that has its rights from the first moment; raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    with open(descriptor, "wb") as file:  # noqa: PTH123 (of a descriptor)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _appear(new: Path, path: Path) -> None:
    """Give a file a further name that must be free; raises FileExistsError, or another OSError."""
    _refuse_existing(path)
    try:
        path.hardlink_to(new)
    except FileExistsError:
        _refuse_existing(path)  # its error names the path; the one of `hardlink_to` names the other file
        raise
    except OSError:  # a file system without hard links, as on a memory stick
        new.rename(path)


def _refuse_existing(path: Path) -> None:
    """Raise FileExistsError if the path exists; raises another OSError if this cannot be found out."""
    if _exists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _exists(path: Path) -> bool:
    """Return whether the path exists, as a broken link too; raises OSError if this cannot be found out."""
    with contextlib.suppress(FileNotFoundError):
        path.lstat()
        return True
    return False


def _remove_lone(public_path: Path, path: Path) -> None:
    """Remove the public key that a killed process left without its private key."""
    if _exists(path) or not _exists(public_path):
        return
    if any(os.path.samestat(leftover.lstat(), public_path.lstat()) for leftover in leftovers(public_path)):
        public_path.unlink()


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _allows(found: os.stat_result, rights: int) -> bool:
    return os.name != "nt" and bool(stat.S_IMODE(found.st_mode) & rights)
