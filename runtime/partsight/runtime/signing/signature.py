"""The signature: who vouches for a package, in a file beside its manifest.

What is signed is the manifest, byte for byte as it lies in the folder; it names the SHA-256 of every other file. The
signature stands in a file of its own, so that the bytes that were signed are those that are read, without a second form
to agree on; the package's id stays what it was, and several keys can sign.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from partsight.runtime.core import SIGNATURE_NAME, PackageError, SignatureError, read_file
from partsight.runtime.signing.keys import PrivateKey, PublicKey

SIGNATURE_VERSION = 1
MAX_SIGNATURES = 16

_PURPOSE = b"partsight package manifest, version 1\n"  # before what is signed: of use for nothing else
_MAX_BYTES = 2**14
_SIGN = "`partsight sign PACKAGE --key KEY`"


class Signature(msgspec.Struct, frozen=True):
    """One key's.

    Attributes:
        key_id: of the key; see `PublicKey.key_id`.
        algorithm: Ed25519, of the manifest's bytes after a line that says what for.
        value: the signature, in hexadecimal.
    """

    key_id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]
    algorithm: Literal["ed25519"]
    value: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{128}\Z")]

    @classmethod
    def of(cls, manifest: bytes, key: PrivateKey) -> "Signature":
        """Sign a manifest's bytes."""
        return cls(key.public.key_id, "ed25519", key.sign(_PURPOSE + manifest).hex())

    def is_right(self, manifest: bytes, key: PublicKey) -> bool:
        """Say whether `key` has signed these bytes."""
        return key.has_signed(_PURPOSE + manifest, bytes.fromhex(self.value))


class SignatureFile(msgspec.Struct, frozen=True):
    """What `signature.json` holds: the signatures of each key once, in the order in which they were made."""

    schema_version: int
    signatures: tuple[Signature, ...]

    def to_json(self) -> bytes:
        """Return it as the only bytes that `read_signatures` takes for it."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)


@dataclass(frozen=True)
class Demand:
    """That a package be signed by one of several keys.

    Attributes:
        keys: at least one.
        source: who demands it, for messages.
    """

    keys: tuple[PublicKey, ...]
    source: str

    def __str__(self) -> str:
        return f"{self.source}: {_names([key.key_id for key in self.keys])}"


def read_signatures(folder: Path) -> tuple[Signature, ...]:
    """Return the signatures of a package, none of them checked; none if it is not signed.

    Raises:
        SignatureError: the file is not as partsight writes it.
        PackageError: it cannot be read, or is too large.
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
        raise _malformed(folder, f"it is of schema version {file.schema_version}, and this partsight reads 1")
    ids = {signature.key_id for signature in file.signatures}
    if not 1 <= len(ids) <= MAX_SIGNATURES or len(ids) < len(file.signatures):
        raise _malformed(folder, f"expected signatures of 1 to {MAX_SIGNATURES} keys, each once")
    if file.to_json() != data:  # a field more, one that stands twice, another order
        raise _malformed(folder, "its bytes are not those that partsight writes for what it says")
    return file.signatures


def check_signatures(folder: Path, manifest: bytes, demands: Sequence[Demand]) -> tuple[str, ...]:
    """Check that the keys that are demanded have signed a manifest.

    Args:
        folder: of the package, which has the signatures.
        manifest: its bytes, those that are then used.
        demands: each must be met.

    Returns:
        Ids of the trusted keys that have signed, in the order of the file.

    Raises:
        SignatureError: a demand is not met, or a signature of a trusted key is wrong.
        DependencyError: the package `cryptography` is not installed.
    """
    signatures = read_signatures(folder)
    if not signatures:
        raise SignatureError(
            f"{folder}: is not signed, and must be by one of {demands[0]}; sign it where it was made: {_SIGN}"
        )
    trusted = {key.key_id: key for demand in demands for key in demand.keys}
    known = [signature for signature in signatures if signature.key_id in trusted]
    for demand in demands:
        if not {key.key_id for key in demand.keys} & {signature.key_id for signature in known}:
            raise SignatureError(
                f"{folder}: is signed by {_names([item.key_id for item in signatures])}, and must be by one of "
                f"{demand}; sign it with one of those, or trust the key that signed it"
            )
    for signature in known:
        if not signature.is_right(manifest, trusted[signature.key_id]):
            raise SignatureError(
                f"{folder}: the signature of key {signature.key_id} is not of this manifest: the package was altered "
                f"after it was signed, or the signature is another package's; copy it again, or sign it again: {_SIGN}"
            )
    return tuple(signature.key_id for signature in known)


def _names(ids: Sequence[str]) -> str:
    return f"key{'s' if len(ids) > 1 else ''} {', '.join(ids)}"


def _malformed(folder: Path, why: str) -> SignatureError:
    return SignatureError(
        f"{folder}: {SIGNATURE_NAME} cannot be used ({why}); copy the package again, or remove that file and sign again"
    )
