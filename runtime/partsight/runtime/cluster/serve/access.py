"""Access: tokens that clients send, of which servers hold only digests."""

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

from partsight.runtime.core import KeyFileError, check_secret, read_key_file

MIN_TOKEN_LENGTH = 16

_SCHEME = "bearer "


def read_token_digests(path: Path) -> tuple[bytes, ...]:
    """Return the SHA-256 of each token in a file, one token a line; with two tokens, one can be replaced in peace.

    Raises:
        KeyFileError: The file cannot be read, other users can read it, or a token is shorter than 16 characters or has
            other characters than letters, digits and -._~+/=.
    """
    tokens = [line.strip() for line in read_key_file(path, check_secret).decode("utf-8", "replace").splitlines()]
    tokens = [token for token in tokens if token]
    allowed = set("-._~+/=")
    if not tokens or not all(
        len(token) >= MIN_TOKEN_LENGTH and token.isascii() and all(c.isalnum() or c in allowed for c in token)
        for token in tokens
    ):
        raise KeyFileError(
            f"{path}: expected one token a line, of at least {MIN_TOKEN_LENGTH} letters, digits and -._~+/=; make one: "
            f'run `python -c "import secrets; print(secrets.token_urlsafe())" > {path}`'
        )
    return tuple(_digest(token) for token in tokens)


def is_allowed(authorization: str | None, digests: Sequence[bytes]) -> bool:
    """Return whether a client may ask, in a time that does not depend on its token.

    Args:
        authorization: Value of the header `Authorization`; None if the client sends none.
        digests: SHA-256 of the tokens; empty if every client may ask.
    """
    if not digests:
        return True
    given = authorization or ""
    digest = _digest(given[len(_SCHEME) :].strip())
    matches = [hmac.compare_digest(digest, known) for known in digests]
    return any(matches) and given.lower().startswith(_SCHEME)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
