"""Credentials for a server: certificates and bearer token, read from files."""

import ipaddress
import logging
import ssl
from pathlib import Path

from partsight.runtime.core import KeyFileError, ProviderError, check_secret, read_key_file
from partsight.runtime.recognition.remote.address import RemoteAddress

_log = logging.getLogger("partsight.runtime")


def tls_context(address: RemoteAddress) -> ssl.SSLContext | None:
    """Return the settings of an encrypted connection; None without `tls`.

    Raises:
        ProviderError: A file cannot be read or used, or others may read the private key.
    """
    options = address.options
    if not options.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=options.ca or None)
        if options.cert:
            read_key_file(Path(options.key or options.cert), check_secret)
            # Without a password, OpenSSL would ask the terminal for it, and wait.
            context.load_cert_chain(options.cert, options.key or None, password="")
    except KeyFileError as error:
        raise ProviderError(f"provider {address}: the private key: {error}") from error
    except (OSError, ValueError) as error:
        raise ProviderError(
            f"provider {address}: ca, cert or key cannot be used ({error}); expected PEM, the key without a passphrase"
        ) from error
    return context


def read_token(address: RemoteAddress) -> str:
    """Return the bearer token; empty without `token_file`.

    Raises:
        ProviderError: The file cannot be read, others may read it, or its first line is no token.
    """
    file = address.options.token_file
    if not file:
        return ""
    try:
        token = read_key_file(Path(file), check_secret).decode("utf-8-sig").split("\n")[0].strip()
    except (KeyFileError, ValueError) as error:
        raise ProviderError(f"provider {address}: token_file: {error}") from error
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ProviderError(f"provider {address}: the first line of {file} is no token; write one there")
    return token


def warn_of_exposure(address: RemoteAddress) -> None:
    """Log a warning if the token would cross a network unencrypted."""
    if address.options.token_file and not address.options.tls and not _is_this_machine(address.host):
        text = "%s: the token crosses the network unencrypted, and every host on the way can read it; use tls=true"
        _log.warning(text, address, extra={"event": "token_exposed", "server": str(address)})


def _is_this_machine(host: str) -> bool:
    """Judge by the name alone: a query for the name of a server can take seconds."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
