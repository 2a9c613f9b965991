"""Who an OPC UA server is, and who may read from it: certificate, key, user and password."""

import hmac
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partsight.runtime.core import KeyFileError, SinkError, check_secret, read_key_file

if TYPE_CHECKING:
    from asyncua.crypto.permission_rules import User

_KEY_BITS = range(2048, 4097)  # of the security policy
_SOON = timedelta(days=30)

_log = logging.getLogger("partsight.sinks")


@dataclass(frozen=True)
class Identity:
    """What a server shows, and asks for.

    Attributes:
        certificate, key: of the encrypted endpoint, as `cryptography` has them; None for one without encryption.
        uri: that the certificate is for; empty without one.
        username, password: of the client; empty for anybody.
    """

    certificate: Any = None
    key: Any = field(default=None, repr=False)
    uri: str = ""
    username: str = ""
    password: str = field(default="", repr=False)


class Readers:
    """Tells asyncua who a client is: a reader, never an administrator, which is its own default."""

    def __init__(self, identity: Identity) -> None:
        """Take the user and the password that are asked for."""
        self._identity = identity

    def get_user(
        self,
        _server: object,
        username: str | None = None,
        password: str | None = None,
        **_: object,
    ) -> "User | None":
        """Return who a client is; None for one with another user or password."""
        from asyncua.crypto.permission_rules import User, UserRole  # noqa: PLC0415 (an extra)

        expected = self._identity.username, self._identity.password
        if expected[0]:
            given = username or "", password or ""
            equal = [
                hmac.compare_digest(_bytes(one), _bytes(other)) for one, other in zip(given, expected, strict=True)
            ]
            if not all(equal):
                return None
        return User(role=UserRole.User, name=username)


def read_certificate(where: object, cert: str, key: str) -> Identity:
    """Return the certificate and the key of files in PEM or DER, and the URI in the former.

    Args:
        where: the sink's address, for messages.
        cert: file of an X.509 certificate with the key below.
        key: file of an RSA key without a passphrase.

    Raises:
        SinkError: they cannot be read or used, do not belong together, the certificate has no URI, or others may read
            the key.
    """
    from cryptography import x509  # noqa: PLC0415 (comes with asyncua)
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415

    try:
        data = read_key_file(Path(cert))
        certificate = (x509.load_pem_x509_certificate if b"-----BEGIN" in data else x509.load_der_x509_certificate)(
            data
        )
        data = read_key_file(Path(key), check_secret)
        load = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
        secret = load(data, None)
        names = [extension.value for extension in certificate.extensions]
    except (KeyFileError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SinkError(
            f"sink {where}: cert or key cannot be used ({error}); expected PEM or DER, the key without a passphrase"
        ) from error
    if not isinstance(secret, RSAPrivateKey) or secret.key_size not in _KEY_BITS:
        raise SinkError(f"sink {where}: key is no RSA key of 2048 to 4096 bits, as OPC UA's Basic256Sha256 asks for")
    if certificate.public_key() != secret.public_key():
        raise SinkError(f"sink {where}: cert and key do not belong together; give those that were made together")
    others = [name for name in names if isinstance(name, x509.SubjectAlternativeName)]
    uris = [uri for name in others for uri in name.get_values_for_type(x509.UniformResourceIdentifier)]
    if not uris:
        raise SinkError(
            f"sink {where}: cert has no URI (subjectAltName), which clients compare; docs/results.md makes one"
        )
    _warn_of_end(where, certificate.not_valid_after_utc)
    return Identity(certificate, secret, uris[0])


def _warn_of_end(where: object, end: datetime) -> None:
    if end - datetime.now(UTC) < _SOON:
        extra = {"event": "certificate_ends", "sink": str(where)}
        _log.warning(
            "sink %s: its certificate is valid until %s; make a new one", where, f"{end:%Y-%m-%d}", extra=extra
        )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
