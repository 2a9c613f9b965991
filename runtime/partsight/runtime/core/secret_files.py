"""Key files: small files that trust depends on, read and made with an eye on who else may read and change them."""

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
_MAX_PASSPHRASE = 1023  # of the library

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
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read ({error}); name a file that you may read") from error
    if len(data) > _MAX_BYTES:
        raise KeyFileError(f"{path}: has more than {_MAX_BYTES} bytes; expected a key that `partsight keygen` wrote")
    return data


def check_secret(path: Path, found: os.stat_result) -> None:
    """Refuse a file that others than its owner may read; Windows keeps rights elsewhere, and nothing is checked there.

    Raises:
        KeyFileError: they may.
    """
    if stat.S_ISREG(found.st_mode) and _allows(found, 0o077):  # a pipe is nobody else's
        if path.suffix == ".pub":
            raise KeyFileError(f"{path}: is a public key by its name; expected the private key, {path.with_suffix('')}")
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
    if passphrase is not None and not 1 <= len(passphrase) <= _MAX_PASSPHRASE:
        raise KeyFileError(
            f"{file or PASSPHRASE_VARIABLE}: the passphrase has {len(passphrase)} bytes; expected 1 to "
            f"{_MAX_PASSPHRASE}, in the first line"
        )
    return passphrase


def write_pair(path: Path, secret: bytes, public_path: Path, public: bytes) -> None:
    """Write a private key, which its owner alone may read, and its public one; both appear whole, or neither does.

    A process that is killed may leave the public key alone, which is good for nothing. A temporary file beside it, a
    second name of the same file, says that it is no other's, and the next call for the same path removes both.

    Args:
        path: of the private key. Neither may exist.
        secret: its bytes.
        public_path: of the public key, in the same folder.
        public: its bytes.

    Raises:
        OutputError: one of them exists or cannot be written.
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
        raise OutputError(f"{error.filename}: exists already, and no key is overwritten; name another one") from error
    except OSError as error:
        raise OutputError(
            f"{path}: could not be written ({error}); name a folder that you may write to, on a disk with room"
        ) from error


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file with its rights from the first moment on; raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    with open(descriptor, "wb") as file:  # noqa: PTH123 (of a descriptor)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _appear(new: Path, path: Path) -> None:
    """Give a file another name, which nothing may have; raises FileExistsError, or another OSError."""
    _refuse_existing(path)
    try:
        path.hardlink_to(new)
    except FileExistsError:
        _refuse_existing(path)  # by its own name
        raise
    except OSError:  # such as of a memory stick, whose files have one name each
        new.rename(path)


def _refuse_existing(path: Path) -> None:
    """Raise FileExistsError if something has this name, or OSError if that cannot be told."""
    if _exists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _exists(path: Path) -> bool:
    """Tell whether something has this name, a link that leads nowhere too; raises OSError if that cannot be told."""
    with contextlib.suppress(FileNotFoundError):
        path.lstat()
        return True
    return False


def _remove_lone(public_path: Path, path: Path) -> None:
    """Remove the public key that a killed process left alone."""
    if _exists(path) or not _exists(public_path):
        return
    if any(os.path.samestat(leftover.lstat(), public_path.lstat()) for leftover in leftovers(public_path)):
        public_path.unlink()


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _allows(found: os.stat_result, rights: int) -> bool:
    return os.name != "nt" and bool(stat.S_IMODE(found.st_mode) & rights)
