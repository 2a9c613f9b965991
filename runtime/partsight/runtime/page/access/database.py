"""The database of a page: one SQLite file in its data folder, which several programs may use at a time."""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from partsight.runtime.core import KeyFileError, PageError, check_secret, check_unwritable

FILE = "page.sqlite"
_BUSY_S = 10.0
_VERSION = 1

_TABLES = f"""
CREATE TABLE IF NOT EXISTS account (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, password TEXT NOT NULL, created REAL NOT NULL,
    is_active INTEGER NOT NULL DEFAULT 1, revision INTEGER NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL,
    object TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS audit_by_who ON audit (who, action, id);
CREATE TRIGGER IF NOT EXISTS audit_is_never_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END;
CREATE TRIGGER IF NOT EXISTS audit_is_never_shortened BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is never shortened'); END;
PRAGMA user_version = {_VERSION};
"""


class Database:
    """The database. Thread-safe: threads take turns. Programs wait for each other, at most 10 s."""

    def __init__(self, folder: str | Path) -> None:
        """Open the database of a data folder, and make both if they are missing.

        Only this user may read the file. The folder may be readable, but only this user may change it: who can replace
        the file replaces the accounts.

        Raises:
            PageError: the folder or the file cannot be used, another user can read the file, or a newer partsight made
                it.
            KeyFileError: another user can change the folder.
        """
        self.folder = Path(folder)
        self._lock = threading.Lock()
        try:
            self._connection = _open(self.folder)
        except (OSError, sqlite3.Error) as error:
            raise PageError(
                f"{self.folder}: cannot hold the page's data ({error}); name a folder that you may write to"
            ) from error
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def rows(self, sql: str, *values: object) -> list[Any]:
        """Return the rows of a query that only reads; it waits for no other reader.

        Raises:
            PageError: the disk failed, or another program holds the database.
        """
        with self._lock, self._named_errors():
            return self._connection.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Let this thread alone read and write; keep all of its changes, or none if the block raises.

        Raises:
            PageError: the disk is full or failed, or another program holds the database.
        """
        with self._lock, self._named_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself ends it after some faults of the disk
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file. May be called twice."""
        with self._lock:
            self._connection.close()

    def _prepare(self) -> None:
        (version,) = self.rows("PRAGMA user_version")[0]
        if version > _VERSION:
            raise PageError(
                f"{self.folder / FILE}: has version {version}, but this partsight knows versions up to {_VERSION}; "
                "install the partsight that made it, or a newer one"
            )
        if version < _VERSION:
            with self._lock, self._named_errors():
                self._connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise PageError(f"{self.folder / FILE}: {error}; free or repair the disk, then try again") from error


def _open(folder: Path) -> sqlite3.Connection:
    """Return a connection to a file that only its owner can read; raises also OSError and sqlite3.Error."""
    folder.mkdir(mode=0o700, exist_ok=True)
    check_unwritable(folder, folder.stat())
    path = folder / FILE
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        check_secret(path, os.fstat(descriptor))
    except KeyFileError as error:
        raise PageError(
            f"{path}: other users than its owner can read the hashes of passwords in it; run `chmod 600 {path}`, then "
            "give all accounts new passwords"
        ) from error
    finally:
        os.close(descriptor)
    return sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
