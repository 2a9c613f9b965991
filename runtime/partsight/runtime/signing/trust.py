"""Trust: by which keys a package must be signed to be loaded here.

The setting of a machine is a folder at a fixed place that only an administrator may write to. It is no variable of the
environment and no option, because whoever starts a program chooses those.
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
    """Return where this machine's trusted keys lie, if it has such a setting.

    `/etc/partsight/trusted_keys.d`; on Windows `partsight\\trusted_keys.d` in the folder of all users' program data.
    """
    if sys.platform == "win32":
        # Asked of Windows: the variable PROGRAMDATA is whatever the caller says.
        found = ctypes.create_unicode_buffer(260)
        ctypes.windll.shell32.SHGetFolderPathW(None, _COMMON_APPDATA, None, 0, found)
        return Path(found.value or r"C:\ProgramData") / "partsight" / "trusted_keys.d"
    return Path("/etc/partsight/trusted_keys.d")


def machine_demand() -> Demand | None:
    """Return what this machine's setting demands of every package; None where it has none.

    Every file `*.pub` of the folder is a trusted key. A folder that cannot be read or holds no key is an error, and not
    a machine without a setting.

    Raises:
        KeyFileError: the setting is broken, or others than its owner may change it.
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
            f"{source} cannot be read ({error}), and until they can no package is loaded; mend the folder, or let an "
            "administrator remove it"
        ) from error
    if not paths:
        raise KeyFileError(
            f"{source} are none, so no package is loaded; put public keys there (NAME{PUBLIC_SUFFIX}), or let an "
            "administrator remove the folder"
        )
    return Demand(tuple(PublicKey.parse(read_key_file(path, check_unwritable), path) for path in paths), source)


def read_keys(keys: Sequence[KeyLike]) -> tuple[PublicKey, ...]:
    """Return public keys, read where they are paths.

    Raises:
        ValueError: there is none.
        KeyFileError: a file holds none.
        DependencyError: the package `cryptography` is not installed.
    """
    if isinstance(keys, str | Path | PublicKey) or not keys:
        raise ValueError(f"trusted_keys is {keys!r}; expected a list of at least one key, or None to demand none")
    return tuple(key if isinstance(key, PublicKey) else PublicKey.read(key) for key in keys)


def find_demands(trusted_keys: Sequence[KeyLike] | None) -> tuple[Demand, ...]:
    """Return what is demanded of a package: by this machine, and by who loads it. Both must be met.

    Args:
        trusted_keys: of the loader; None for those of the machine alone.

    Raises:
        ValueError: it is empty.
        KeyFileError: the machine's setting or one of the keys cannot be used.
        DependencyError: the package `cryptography` is not installed.
    """
    machine = machine_demand()
    own = None if trusted_keys is None else Demand(read_keys(trusted_keys), "the trusted keys that were named")
    return tuple(demand for demand in (machine, own) if demand is not None)


def check_cache(folder: Path) -> None:
    """Refuse a folder of compiled models that others may write to: what lies there is loaded in place of the package's.

    Raises:
        KeyFileError: they may.
    """
    try:
        found = folder.stat()
    except OSError:  # it is not there yet
        return
    check_unwritable(folder, found)
