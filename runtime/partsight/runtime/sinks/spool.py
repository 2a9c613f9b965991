"""The spool: results on disk that a peer has not acknowledged yet. It survives crashes of program and peer."""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Self

from partsight.runtime.core import SinkError
from partsight.runtime.sinks.database import DatabaseForm, open_database, sqlite_errors
from partsight.runtime.sinks.files import check_folder, lock_file

FORM = DatabaseForm(
    application=0x70737370,  # "pssp"
    version=1,
    what="a spool of partsight",
    tables="CREATE TABLE waiting (id INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL)",
)


class Spool:
    """Payloads in the order of their arrival, each until its removal. Several threads may call it."""

    def __init__(self, path: Path, max_rows: int, max_bytes: int) -> None:
        """Open or create the file, for this program alone.

        Args:
            path: Path of the file.
            max_rows: Limit of waiting payloads.
            max_bytes: Limit of their bytes in all.

        Raises:
            SinkError: the file cannot be opened, is no spool, or another program uses it.
        """
        self.path, self._max_rows, self._max_bytes = path, max_rows, max_bytes
        self._lock = threading.Lock()
        self._lock_fd: int | None = _reserve(path)
        try:
            self._connection: sqlite3.Connection | None = open_database(path, FORM)
            with sqlite_errors(path):
                counted = self._connection.execute("SELECT count(*), coalesce(sum(length(payload)), 0) FROM waiting")
                self._rows, self._bytes = counted.fetchone()
        except SinkError:
            self._release()
            raise

    def __len__(self) -> int:
        """Return the number of waiting payloads."""
        with self._lock:
            return int(self._rows)

    def add(self, payload: bytes) -> int:
        """Keep a payload; when this returns, not even a power cut loses it.

        Returns:
            Id of the payload, larger than any before.

        Raises:
            SinkError: the spool or the disk is full, or the spool is closed.
        """
        with self._lock:
            if self._rows >= self._max_rows or self._bytes + len(payload) > self._max_bytes:
                raise SinkError(
                    f"{self.path}: the spool is full, {self._rows:,} results of {self._bytes:,} bytes wait (at most "
                    f"{self._max_rows:,} of {self._max_bytes:,}); repair the network, or raise spool_rows or spool_mb"
                )
            with sqlite_errors(self.path):
                row = self._open().execute("INSERT INTO waiting (payload) VALUES (?)", (payload,)).lastrowid
            self._rows += 1
            self._bytes += len(payload)
            return int(row or 0)

    def after(self, row: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` payloads with ids above `row`, each as id and payload.

        Raises:
            SinkError: the disk failed, the file is damaged, or the spool is closed.
        """
        query = "SELECT id, payload FROM waiting WHERE id > ? ORDER BY id LIMIT ?"
        with self._lock, sqlite_errors(self.path):
            rows: list[tuple[int, bytes]] = self._open().execute(query, (row, limit)).fetchall()
        if not all(isinstance(payload, bytes) for _, payload in rows):  # SQLite keeps any type in any column
            raise SinkError(f"{self.path}: a result in it is damaged: move it away, and save it by sqlite3's .recover")
        return rows

    def remove(self, rows: Collection[int]) -> None:
        """Remove acknowledged payloads; ids that the spool does not have are skipped.

        Raises:
            SinkError: the disk is full or failed, and all payloads stay; or the spool is closed.
        """
        with self._lock, sqlite_errors(self.path):
            connection, count, size = self._open(), 0, 0
            connection.execute("BEGIN IMMEDIATE")
            try:
                for row in rows:
                    removed = connection.execute("DELETE FROM waiting WHERE id = ? RETURNING length(payload)", (row,))
                    for (length,) in removed.fetchall():
                        count += 1
                        size += length or 0
                connection.execute("COMMIT")
            except sqlite3.DatabaseError:
                with contextlib.suppress(sqlite3.DatabaseError):
                    connection.execute("ROLLBACK")
                raise
            self._rows -= count
            self._bytes -= size

    def close(self) -> None:
        """Close the file. May be called twice."""
        with self._lock:
            connection, self._connection = self._connection, None
            try:
                if connection is not None:
                    with sqlite_errors(self.path):
                        connection.close()
            finally:
                self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise SinkError(f"{self.path}: this spool is closed; open it again")
        return self._connection

    def _release(self) -> None:
        fd, self._lock_fd = self._lock_fd, None
        if fd is not None:
            os.close(fd)


def _reserve(path: Path) -> int:
    """Lock the spool: a second program would send its results twice, and out of order."""
    lock = path.with_name(f"{path.name}.lock")
    check_folder(path)
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SinkError(f"{path}: cannot be opened ({error}); name a file that you may write to") from error
    try:
        lock_file(fd, path)
    except SinkError:
        os.close(fd)
        raise
    return fd
