"""Sessions: people who are logged in. They live in memory: a restart of the line logs everybody out."""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from partsight.runtime.page.access.accounts import Account, Role

MAX_SESSIONS = 200
"""Sessions at a time; for one more, the one that was idle longest ends."""

MAX_AGE_S = 7 * 24 * 3600.0
"""Seconds after which a session ends, even if it is in use."""


@dataclass(frozen=True)
class Session:
    """A person who is logged in.

    Attributes:
        name: Name of the account.
        role: Its role at the logon. Any change of the account ends the session, so it is the role now.
        revision: Revision of the account at the logon.
        csrf: Token that each form sends back; another site cannot know it.
        began, used: Times of the logon and of the last request, in seconds of the monotonic clock.
    """

    name: str
    role: Role
    revision: int
    csrf: str
    began: float
    used: float


class Sessions:
    """All sessions, by the hash of the token in their cookie. Thread-safe."""

    def __init__(self, idle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without sessions.

        Args:
            idle_s: Seconds without a request after which a session ends.
            clock: Clock, in seconds.
        """
        self._idle_s, self._clock = idle_s, clock
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def begin(self, account: Account) -> str:
        """Begin a session of a person whose password was checked, and return the token for the cookie."""
        token, csrf, now = secrets.token_urlsafe(32), secrets.token_urlsafe(32), self._clock()
        session = Session(account.name, account.role, account.revision, csrf, now, now)
        with self._lock:
            self._sessions[_hashed(token)] = session
            if len(self._sessions) > MAX_SESSIONS:
                del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].used)]
        return token

    def find(self, token: str, *, is_use: bool = True) -> Session | None:
        """Return the session of a token; None if there is none, or it has ended.

        Args:
            token: Token of the cookie.
            is_use: Whether the session counts as used now.
        """
        key, now = _hashed(token), self._clock()
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                return None
            if now - session.used > self._idle_s or now - session.began > MAX_AGE_S:
                del self._sessions[key]
                return None
            if is_use:
                session = self._sessions[key] = replace(session, used=now)
            return session

    def end(self, token: str) -> None:
        """End the session of a token, if there is one."""
        with self._lock:
            self._sessions.pop(_hashed(token), None)

    def end_all(self, name: str) -> None:
        """End all sessions of an account: its password, role or state has changed."""
        with self._lock:
            self._sessions = {key: session for key, session in self._sessions.items() if session.name != name}

    def end_changed(self, read: Callable[[], Mapping[str, int]]) -> None:
        """End all sessions of accounts that have changed since their logon, or are gone.

        Args:
            read: Function that returns the revision of each account by name, see `Accounts.revisions`.
        """
        with self._lock:
            found = dict(self._sessions)  # of a session that begins after `read`, the account may be newer
        revisions = read()
        with self._lock:
            for key, session in found.items():
                if revisions.get(session.name) != session.revision:
                    self._sessions.pop(key, None)


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
