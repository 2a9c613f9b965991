"""Signing: a package's manifest is signed as it lies in its folder, which holds nothing but what it names."""

from pathlib import Path

from partsight.runtime.core import MANIFEST_NAME, SIGNATURE_NAME, SignatureError, read_file, write_file
from partsight.runtime.package.manifest import Manifest
from partsight.runtime.package.package import MAX_MANIFEST_BYTES, ModelPackage
from partsight.runtime.signing import (
    MAX_SIGNATURES,
    SIGNATURE_VERSION,
    PrivateKey,
    Signature,
    SignatureFile,
    read_signatures,
)


def sign_package(package: str | Path, key: PrivateKey) -> ModelPackage:
    """Sign a package; signatures of other keys stay, an earlier one of this key is replaced.

    Every file is compared with the manifest first. The signature appears whole or not at all.

    Args:
        package: its folder.
        key: signs.

    Raises:
        PackageError: the package is damaged or altered.
        SignatureError: the folder holds a file that the manifest does not name, or a signature file that is damaged or
            full.
        OutputError: the signature cannot be written.
    """
    read = ModelPackage.examine(package)
    manifest = read_file(read.path, MANIFEST_NAME, MAX_MANIFEST_BYTES)
    if Manifest.from_json(manifest, str(read.path)) != read.manifest:
        raise SignatureError(f"{read.path}: the manifest was changed meanwhile; sign when nobody writes there")
    read.check_whole()
    signature = Signature.of(manifest, key)
    others = [item for item in read_signatures(read.path) if item.key_id != signature.key_id]
    if len(others) >= MAX_SIGNATURES:
        raise SignatureError(
            f"{read.path}: is signed by {len(others)} keys, and no more are read; remove {SIGNATURE_NAME}"
        )
    file = SignatureFile(SIGNATURE_VERSION, (*others, signature))
    write_file(read.path / SIGNATURE_NAME, file.to_json())
    return read
