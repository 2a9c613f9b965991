"""Signing a whole package: every file is compared with the manifest, then the manifest is signed."""

from pathlib import Path

from partsight.runtime.core import MANIFEST_NAME, SignatureError, read_file
from partsight.runtime.package.manifest import Manifest
from partsight.runtime.package.package import MAX_MANIFEST_BYTES, ModelPackage
from partsight.runtime.signing import PrivateKey, add_signature


def sign_package(package: str | Path, key: PrivateKey) -> ModelPackage:
    """Sign a package; signatures of other keys stay, an earlier one of this key is replaced.

    Args:
        package: Folder of the package.
        key: Key that signs.

    Raises:
        PackageError: a file was altered or damaged.
        SignatureError: the folder holds a file that the manifest does not name, or its signature file is damaged or
            full.
        OutputError: the signature cannot be written.
    """
    read = ModelPackage.examine(package)
    manifest = read_file(read.path, MANIFEST_NAME, MAX_MANIFEST_BYTES)
    if Manifest.from_json(manifest, str(read.path)) != read.manifest:
        raise SignatureError(
            f"{read.path}: another program changed {MANIFEST_NAME} meanwhile; sign again when nothing writes there"
        )
    read.check_whole()
    add_signature(read.path, manifest, key)
    return read
