"""Keys, signed copies of packages, and a machine that has trusted keys."""

import shutil
from pathlib import Path

import pytest

from partsight.runtime.package.sign import sign_package
from partsight.runtime.signing import trust
from partsight.runtime.signing.keys import PrivateKey, generate_key


def new_key(path: Path) -> PrivateKey:
    """Return a new key, written to a path, with its public key next to it."""
    generate_key(path)
    return PrivateKey.read(path)


def public(path: Path) -> Path:
    """Return where the public key of the one at a path lies."""
    return path.with_name(f"{path.name}.pub")


def signed_copy(package: Path, to: Path, *keys: PrivateKey) -> Path:
    """Copy a package and sign the copy."""
    shutil.copytree(package, to)
    for key in keys:
        sign_package(to, key)
    return to


def set_machine(monkeypatch: pytest.MonkeyPatch, folder: Path, *keys: Path) -> Path:
    """Give this machine trusted keys, which lie in a folder that is made for them."""
    folder.mkdir(mode=0o755)
    for key in keys:
        (folder / key.name).write_bytes(key.read_bytes())
        (folder / key.name).chmod(0o644)
    monkeypatch.setattr(trust, "machine_folder", lambda: folder)
    return folder
