"""Ed25519 keys: a private key signs packages, its public key checks the signatures."""

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from partsight.runtime.core import (
    PASSPHRASE_VARIABLE,
    DependencyError,
    KeyFileError,
    check_secret,
    read_key_file,
    sha256_bytes,
    write_pair,
)

PUBLIC_SUFFIX = ".pub"

_SERIALIZATION = "cryptography.hazmat.primitives.serialization"
_ED25519 = "cryptography.hazmat.primitives.asymmetric.ed25519"


@dataclass(frozen=True)
class PublicKey:
    """A key that checks signatures.

    Attributes:
        raw: Key, 32 bytes.
    """

    raw: bytes

    @property
    def key_id(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of `raw`: the key's name in signatures, results and logs."""
        return sha256_bytes(self.raw)[:16]

    @classmethod
    def read(cls, path: str | Path) -> "PublicKey":
        """Read the file KEY.pub of `partsight keygen`, or any other public Ed25519 key in PEM.

        Raises:
            KeyFileError: the file is not a public Ed25519 key.
            DependencyError: the package `cryptography` is not installed.
        """
        return cls.parse(read_key_file(Path(path)), Path(path))

    @classmethod
    def parse(cls, data: bytes, path: Path) -> "PublicKey":
        """Return the key in the bytes of a file; raises as `read` does."""
        if b"PRIVATE KEY" in data:
            raise KeyFileError(
                f"{path}: holds a private key; expected the public key: name {path}.pub, and keep the private key on "
                "the machine that signs"
            )
        try:
            key = need_crypto(_SERIALIZATION).load_pem_public_key(data)
        except (ValueError, TypeError, ArithmeticError, _unsupported()) as error:
            raise KeyFileError(f"{path}: {_not_a_key(error)}") from error
        if not isinstance(key, need_crypto(_ED25519).Ed25519PublicKey):
            raise KeyFileError(f"{path}: {_other_kind(key)}")
        return cls(bytes(key.public_bytes_raw()))

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Return whether this key made a signature of this message."""
        key = need_crypto(_ED25519).Ed25519PublicKey.from_public_bytes(self.raw)
        try:
            key.verify(signature, message)
        except need_crypto("cryptography.exceptions").InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """A key that signs.

    Attributes:
        public: Key that checks its signatures.
    """

    public: PublicKey
    _key: Any = field(repr=False)

    @classmethod
    def read(cls, path: str | Path, passphrase: bytes | None = None) -> "PrivateKey":
        """Read the file KEY of `partsight keygen`.

        Args:
            path: Path of the file.
            passphrase: Passphrase of an encrypted key; ignored if the key is not encrypted.

        Raises:
            KeyFileError: the file is not a private Ed25519 key, other users can read it, or the passphrase is wrong.
            DependencyError: the package `cryptography` is not installed.
        """
        path = Path(path)
        data = read_key_file(path, check_secret)
        try:
            key = _load(path, data, passphrase)
        except (ValueError, ArithmeticError, _unsupported()) as error:
            raise KeyFileError(f"{path}: {_not_a_key(error)}") from error
        if not isinstance(key, need_crypto(_ED25519).Ed25519PrivateKey):
            raise KeyFileError(f"{path}: {_other_kind(key)}")
        return cls(PublicKey(bytes(key.public_key().public_bytes_raw())), key)

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes."""
        return bytes(self._key.sign(message))


def generate_key(path: str | Path, passphrase: bytes | None = None) -> PublicKey:
    """Make a pair of keys: the file `path`, which only its owner can read, and the public key `path` with `.pub`.

    Args:
        path: Path of the private key. Neither file may exist.
        passphrase: Passphrase that encrypts the private key; None for a key that every reader of the file can use.

    Raises:
        OutputError: one of the files exists or cannot be written; nothing is left behind.
        DependencyError: the package `cryptography` is not installed.
    """
    path, form = Path(path), need_crypto(_SERIALIZATION)
    key = need_crypto(_ED25519).Ed25519PrivateKey.generate()
    encryption = form.NoEncryption() if passphrase is None else form.BestAvailableEncryption(passphrase)
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, encryption)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    write_pair(path, secret, path.with_name(path.name + PUBLIC_SUFFIX), public)
    return PublicKey(bytes(key.public_key().public_bytes_raw()))


def need_crypto(module: str) -> ModuleType:
    """Import a module of the package `cryptography`.

    Raises:
        DependencyError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DependencyError(
            f"signatures need the package cryptography, which cannot be imported ({error}); run "
            "`pip install 'partsight[sign]'`"
        ) from error


def _unsupported() -> type[Exception]:
    """Return the class of the library's error for a key of an unknown kind."""
    kind: type[Exception] = need_crypto("cryptography.exceptions").UnsupportedAlgorithm
    return kind


def _load(path: Path, data: bytes, passphrase: bytes | None) -> object:
    """Return the private key in the bytes of a file; raises ValueError if there is none."""
    load = need_crypto(_SERIALIZATION).load_pem_private_key
    try:
        return load(data, None)
    except TypeError as error:  # the key is encrypted
        if passphrase is None:
            raise KeyFileError(
                f"{path}: is encrypted; pass its passphrase by --passphrase-file or {PASSPHRASE_VARIABLE}"
            ) from error
    try:
        return load(data, passphrase)
    except ValueError as error:
        raise KeyFileError(f"{path}: cannot be decrypted ({error}); check the passphrase") from error


def _other_kind(key: object) -> str:
    return f"holds a {type(key).__name__}; expected Ed25519: make a key with `partsight keygen`"


def _not_a_key(error: Exception) -> str:
    return f"is not a key in PEM ({' '.join(str(error).split())[:200]}); name a file that `partsight keygen` wrote"
