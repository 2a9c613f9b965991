"""Identity of an OPC UA server and of its clients: certificate, key, user and password."""

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
    """Certificate and login of a server.

    Attributes:
        certificate, key: Objects of `cryptography` for the encrypted endpoint; None without encryption.
        uri: URI in the certificate; empty without one.
        username, password: Login that clients must send; empty for anonymous clients.
    """

    certificate: Any = None
    key: Any = field(default=None, repr=False)
    uri: str = ""
    username: str = ""
    password: str = field(default="", repr=False)


class Readers:
    """asyncua's user manager: makes every client a reader, while asyncua's own makes it an administrator."""

    def __init__(self, identity: Identity) -> None:
        """Take the login that clients must send."""
        self._identity = identity

    def get_user(
        self,
        _server: object,
        username: str | None = None,
        password: str | None = None,
        **_: object,
    ) -> "User | None":
        """Return the user of a client; None if its login is wrong."""
        from asyncua.crypto.permission_rules import User, UserRole  # noqa: PLC0415 (an extra)

        expected = self._identity.username, self._identity.password
        if expected[0]:
            sent = username or "", password or ""
            equal = [hmac.compare_digest(_bytes(one), _bytes(other)) for one, other in zip(sent, expected, strict=True)]
            if not all(equal):
                return None
        return User(role=UserRole.User, name=username)


def read_certificate(where: object, cert: str, key: str) -> Identity:
    """Read certificate and key, in PEM or DER, and the URI in the certificate.

    Args:
        where: Address of the sink, for messages.
        cert: File of an X.509 certificate of the key.
        key: File of an RSA key without a passphrase.

    Raises:
        SinkError: a file cannot be read or used, the two do not belong together, the certificate has no URI, or others
            may read the key.
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
        raise SinkError(f"sink {where}: key is no RSA key of 2048 to 4096 bits, which OPC UA's Basic256Sha256 demands")
    if certificate.public_key() != secret.public_key():
        raise SinkError(
            f"sink {where}: cert and key do not belong together; give the two files of one command, see docs/results.md"
        )
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
