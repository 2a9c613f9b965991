"""The signature file of a package: its format, adding a signature, and checking the signatures.

A key signs the bytes of the manifest exactly as the file holds them, and the manifest names the SHA-256 of every other
file. Signatures are in a file of their own, `signature.json`. So the manifest has only one form, a signature leaves the
package's id as it is, and several keys can sign. `partsight.runtime.package.sign_package` signs a whole package.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from partsight.runtime.core import SIGNATURE_NAME, PackageError, SignatureError, read_file, write_file
from partsight.runtime.signing.keys import PrivateKey, PublicKey

SIGNATURE_VERSION = 1
MAX_SIGNATURES = 16

_PURPOSE = b"partsight package manifest, version 1\n"
"""Prefix of the signed bytes: nobody can pass the signature of a manifest off as a signature of something else."""

_MAX_BYTES = 2**14
_SIGN = "`partsight sign PACKAGE --key KEY`"


class Signature(msgspec.Struct, frozen=True):
    """The signature of a manifest by one key.

    Attributes:
        key_id: Id of the key, see `PublicKey.key_id`.
        algorithm: Always Ed25519, over `_PURPOSE` and the bytes of the manifest.
        value: Signature, 64 bytes in hexadecimal.
    """

    key_id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]
    algorithm: Literal["ed25519"]
    value: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{128}\Z")]

    @classmethod
    def of(cls, manifest: bytes, key: PrivateKey) -> "Signature":
        """Sign the bytes of a manifest."""
        return cls(key.public.key_id, "ed25519", key.sign(_PURPOSE + manifest).hex())

    def is_valid(self, manifest: bytes, key: PublicKey) -> bool:
        """Return whether `key` has signed these bytes."""
        return key.has_signed(_PURPOSE + manifest, bytes.fromhex(self.value))


class SignatureFile(msgspec.Struct, frozen=True):
    """Contents of `signature.json`: one signature of each key, in the order in which they were made."""

    schema_version: int
    signatures: tuple[Signature, ...]

    def to_json(self) -> bytes:
        """Return the JSON; `read_signatures` refuses any other spelling of the same contents."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)


@dataclass(frozen=True)
class Demand:
    """The demand that one of several keys has signed a package.

    Attributes:
        keys: Public keys, at least one.
        source: Who demands the signature, for messages.
    """

    keys: tuple[PublicKey, ...]
    source: str

    def __str__(self) -> str:
        return f"{self.source}: {_names([key.key_id for key in self.keys])}"


def read_signatures(folder: Path) -> tuple[Signature, ...]:
    """Return the signatures of a package without checking them; none if it is not signed.

    Raises:
        SignatureError: the signature file is not as partsight writes it.
        PackageError: the signature file cannot be read, or is too large.
    """
    try:
        data = read_file(folder, SIGNATURE_NAME, _MAX_BYTES)
    except PackageError as error:
        # A link that leads nowhere is no file either. `Path.is_symlink` would raise on a disk that cannot be read.
        if isinstance(error.__cause__, FileNotFoundError) and not os.path.islink(folder / SIGNATURE_NAME):  # noqa: PTH114
            return ()
        raise
    try:
        file = msgspec.json.decode(data, type=SignatureFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(folder, str(error)) from error
    if file.schema_version != SIGNATURE_VERSION:
        raise _malformed(folder, f"schema version {file.schema_version}; this partsight reads {SIGNATURE_VERSION}")
    ids = {signature.key_id for signature in file.signatures}
    if not 1 <= len(ids) <= MAX_SIGNATURES or len(ids) < len(file.signatures):
        raise _malformed(folder, f"expected signatures of 1 to {MAX_SIGNATURES} keys, each once")
    if file.to_json() != data:  # a field more, one that stands twice, another order
        raise _malformed(folder, "partsight writes the same contents with other bytes")
    return file.signatures


def add_signature(folder: Path, manifest: bytes, key: PrivateKey) -> None:
    """Sign a manifest; signatures of other keys stay, an earlier one of this key is replaced.

    The signature appears whole or not at all.

    Args:
        folder: Folder of the package.
        manifest: Bytes of its manifest.
        key: Key that signs.

    Raises:
        SignatureError: the signature file is damaged, or has `MAX_SIGNATURES` signatures of other keys.
        PackageError: the signature file cannot be read, or is too large.
        OutputError: the signature file cannot be written.
    """
    signature = Signature.of(manifest, key)
    others = [item for item in read_signatures(folder) if item.key_id != signature.key_id]
    if len(others) >= MAX_SIGNATURES:
        raise SignatureError(
            f"{folder}: has signatures of {len(others)} keys, the most that partsight reads; remove {SIGNATURE_NAME} "
            "and sign again"
        )
    write_file(folder / SIGNATURE_NAME, SignatureFile(SIGNATURE_VERSION, (*others, signature)).to_json())


def check_signatures(folder: Path, manifest: bytes, demands: Sequence[Demand]) -> tuple[str, ...]:
    """Check that a manifest has the signatures that are demanded.

    Args:
        folder: Folder of the package, with the signature file.
        manifest: Bytes of the manifest; the caller must use these, and not read them again.
        demands: Demands, each of which must be met; at least one.

    Returns:
        Ids of the trusted keys that have signed, in the order of the file.

    Raises:
        SignatureError: a demand is not met, or a signature of a trusted key is wrong.
        DependencyError: the package `cryptography` is not installed.
    """
    signatures = read_signatures(folder)
    if not signatures:
        raise SignatureError(
            f"{folder}: is not signed; expected a signature by one of {demands[0]}: sign the package where it was made "
            f"with {_SIGN}"
        )
    trusted = {key.key_id: key for demand in demands for key in demand.keys}
    known = [signature for signature in signatures if signature.key_id in trusted]
    for demand in demands:
        if not {key.key_id for key in demand.keys} & {signature.key_id for signature in known}:
            raise SignatureError(
                f"{folder}: is signed by {_names([item.key_id for item in signatures])}; expected a signature by one "
                f"of {demand}: sign the package with one of those, or trust the key that signed it"
            )
    for signature in known:
        if not signature.is_valid(manifest, trusted[signature.key_id]):
            raise SignatureError(
                f"{folder}: the signature of key {signature.key_id} does not fit this manifest: the package was "
                "altered after it was signed, or the signature belongs to another package; copy the package again, or "
                f"sign it again with {_SIGN}"
            )
    return tuple(signature.key_id for signature in known)


def _names(ids: Sequence[str]) -> str:
    return f"key{'s' if len(ids) > 1 else ''} {', '.join(ids)}"


def _malformed(folder: Path, why: str) -> SignatureError:
    return SignatureError(
        f"{folder}: {SIGNATURE_NAME} is damaged ({why}); copy the package again, or remove that file and sign again"
    )
