"""The database of a page: one SQLite file in its data folder, which several programs may use at a time."""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from partsight.runtime.core import PageError

FILE = "page.sqlite"
_BUSY_S = 10.0

_TABLES = """
CREATE TABLE IF NOT EXISTS account (
    name TEXT PRIMARY KEY COLLATE NOCASE, password TEXT NOT NULL, role TEXT NOT NULL, created REAL NOT NULL,
    is_active INTEGER NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL,
    object TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS audit_is_never_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END;
CREATE TRIGGER IF NOT EXISTS audit_is_never_shortened BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is never shortened'); END;
"""


class Database:
    """The database. Thread-safe: threads take turns."""

    def __init__(self, folder: str | Path) -> None:
        """Open the database of a data folder, and make both if they are missing; only this user may read them.

        Raises:
            PageError: the folder or the file cannot be used.
        """
        self.folder = Path(folder)
        self._lock = threading.Lock()
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            path = self.folder / FILE
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._connection = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
            self._connection.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise PageError(
                f"{self.folder}: cannot hold the page's data ({error}); name a folder that you may write to"
            ) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Let this thread alone read and write; keep all of its changes, or none if the block raises.

        Raises:
            PageError: the disk is full or failed, or another program holds the database.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise PageError(f"{self.folder / FILE}: {error}; free or repair the disk, then try again") from error

    def close(self) -> None:
        """Close the file. May be called twice."""
        with self._lock:
            self._connection.close()
