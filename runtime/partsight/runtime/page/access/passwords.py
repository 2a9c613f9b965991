"""Passwords: what partsight accepts, and their Argon2 hashes."""

import logging
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from partsight.runtime.core import folded, normalized

MIN_PASSWORD, MAX_PASSWORD = 10, 200
"""Characters of a password. No other rule: rules about digits and signs make passwords worse."""

PASSWORD_RULE = f"{MIN_PASSWORD} to {MAX_PASSWORD} characters, and not the name of the account"

TIME_COST, MEMORY_KIB = 3, 32 * 1024
"""Cost of a hash (Argon2id, one thread): more than the least that OWASP names, and about 0.1 s of one core."""

_log = logging.getLogger("partsight.page")


class Passwords:
    """Makes and checks hashes, one at a time: many logons at once take one core and 32 MiB, and the line the rest."""

    def __init__(self) -> None:
        """Take the cost."""
        self._hasher = PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=1)
        self._turn = threading.Lock()
        self._dummy = ""

    def hash(self, password: str) -> str:
        """Return the hash of a password, with its salt and cost."""
        with self._turn:
            return self._hasher.hash(_encoded(password))

    def matches(self, password: str, stored: str | None) -> bool:
        """Return whether a password has a hash.

        Args:
            password: Password that somebody typed.
            stored: Hash; None if there is no account. Then the same work is done, so that nobody can find out by time
                which accounts exist.
        """
        with self._turn:
            self._dummy = self._dummy or self._hasher.hash("no account has this one")
            try:
                return self._hasher.verify(stored or self._dummy, _encoded(password)) and stored is not None
            except VerificationError:
                return False
            except InvalidHashError:
                _log.error(
                    "an account's password is damaged in the database; set a new one",
                    extra={"event": "page_account_damaged"},
                )
                return False

    def is_outdated(self, stored: str) -> bool:
        """Return whether a hash has another cost than new ones."""
        return self._hasher.check_needs_rehash(stored)


def is_password(password: str, name: str) -> bool:
    """Return whether an account may have a password; see `PASSWORD_RULE`."""
    return MIN_PASSWORD <= len(normalized(password)) <= MAX_PASSWORD and folded(password) != folded(name)


def _encoded(password: str) -> bytes:
    """Return the bytes that are hashed; keyboards and systems encode accents in different ways."""
    return normalized(password).encode(errors="surrogatepass")
