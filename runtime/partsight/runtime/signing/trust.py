"""Trust: the keys, one of which must have signed a package that this machine loads.

A machine's setting is a folder at a fixed path that only an administrator can change. It is not an environment variable
and not an option: the user who starts a program chooses those.
"""

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from partsight.runtime.core import KeyFileError, check_unwritable, read_key_file
from partsight.runtime.signing.keys import PUBLIC_SUFFIX, PublicKey
from partsight.runtime.signing.signature import Demand

KeyLike = str | Path | PublicKey
"""A public key, or the path of its file."""

_COMMON_APPDATA = 0x23  # CSIDL_COMMON_APPDATA of Windows


def machine_folder() -> Path:
    """Return the folder of this machine's trusted keys, whether it exists or not.

    `/etc/partsight/trusted_keys.d`; on Windows `partsight\\trusted_keys.d` in the program data folder of all users.
    """
    if sys.platform == "win32":
        # By a call of Windows: whoever starts the program can change the variable PROGRAMDATA.
        found = ctypes.create_unicode_buffer(260)
        ctypes.windll.shell32.SHGetFolderPathW(None, _COMMON_APPDATA, None, 0, found)
        return Path(found.value or r"C:\ProgramData") / "partsight" / "trusted_keys.d"
    return Path("/etc/partsight/trusted_keys.d")


def machine_demand() -> Demand | None:
    """Return this machine's demand on every package; None if the machine has no setting.

    Every file `*.pub` of the folder is a trusted key. A folder that cannot be read or has no key is an error: it does
    not count as no setting.

    Raises:
        KeyFileError: the setting is broken, or other users than its owner can change it.
        DependencyError: the package `cryptography` is not installed.
    """
    folder = machine_folder()
    source = f"this machine's trusted keys ({folder})"
    try:
        try:
            os.lstat(folder)
        except FileNotFoundError:
            return None
        check_unwritable(folder, folder.stat())
        paths = sorted(path for path in folder.iterdir() if path.name.endswith(PUBLIC_SUFFIX))
    except OSError as error:
        raise KeyFileError(
            f"{source} cannot be read ({error}), so this machine loads no package; ask an administrator to repair or "
            "remove the folder"
        ) from error
    if not paths:
        raise KeyFileError(
            f"{source}: the folder has no key, so this machine loads no package; ask an administrator to put public "
            f"keys there (NAME{PUBLIC_SUFFIX}) or to remove the folder"
        )
    return Demand(tuple(PublicKey.parse(read_key_file(path, check_unwritable), path) for path in paths), source)


def read_keys(keys: Sequence[KeyLike]) -> tuple[PublicKey, ...]:
    """Return public keys; a path is read.

    Args:
        keys: Public keys or paths of their files, at least one.

    Raises:
        ValueError: there is no key.
        KeyFileError: a file is not a public key.
        DependencyError: the package `cryptography` is not installed.
    """
    if isinstance(keys, str | Path | PublicKey) or not keys:
        raise ValueError(f"trusted_keys is {keys!r}; expected a list of at least one key, or None for no demand")
    return tuple(key if isinstance(key, PublicKey) else PublicKey.read(key) for key in keys)


def find_demands(trusted_keys: Sequence[KeyLike] | None) -> tuple[Demand, ...]:
    """Return the demands of this machine and of the caller on a package, each of which must be met.

    Args:
        trusted_keys: Keys that the caller trusts; None if only this machine's setting counts.

    Raises:
        ValueError: `trusted_keys` is empty.
        KeyFileError: the machine's setting or one of the keys cannot be used.
        DependencyError: the package `cryptography` is not installed.
    """
    machine = machine_demand()
    own = None if trusted_keys is None else Demand(read_keys(trusted_keys), "the trusted keys that the program names")
    return tuple(demand for demand in (machine, own) if demand is not None)


def check_cache(folder: Path) -> None:
    """Refuse a cache folder that other users can change: the engine loads its compiled models instead of the package's.

    Raises:
        KeyFileError: other users can change the folder.
    """
    try:
        found = folder.stat()
    except OSError:  # the engine makes the folder later
        return
    check_unwritable(folder, found)
