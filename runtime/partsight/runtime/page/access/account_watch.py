"""The watch on accounts that another program changes, such as `partsight account`, or the page of another line."""

import logging
import threading

from partsight.runtime.core import PageError
from partsight.runtime.page.access.accounts import Accounts
from partsight.runtime.page.access.sessions import Sessions

CHECK_S = 2.0
"""Seconds between checks. A check reads two columns of at most 500 rows."""

_log = logging.getLogger("partsight.page")


class AccountWatch:
    """Ends the sessions of changed accounts, in a thread of its own: a slow disk delays no answer of the page."""

    def __init__(self, accounts: Accounts, sessions: Sessions) -> None:
        """Take the accounts and the sessions."""
        self._accounts, self._sessions = accounts, sessions
        self._is_readable = True
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="partsight-page-accounts", daemon=True)

    def start(self) -> None:
        """Check from now on."""
        self._thread.start()

    def check(self) -> None:
        """End the sessions of accounts that have changed since their logon.

        Sessions go on while the database cannot be read. Nobody can change anything meanwhile: the audit log is there.
        """
        try:
            self._sessions.end_changed(self._accounts.revisions)
            self._is_readable = True
        except PageError as error:
            if self._is_readable:
                _log.warning("accounts cannot be checked: %s", error, extra={"event": "page_accounts_unreadable"})
            self._is_readable = False

    def close(self) -> None:
        """Check no more. May be called twice."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(CHECK_S):
            self.check()
