"""The audit log: who did what when, with the state before and after. Nothing in it is changed or removed."""

import csv
import io
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from partsight.runtime.page.access.database import Database

MAX_TEXT = 1000
"""Characters of a text of an entry; the rest is cut off, and `…` shows it."""

_COLUMNS = "id, time, who, action, object, before, after"


@dataclass(frozen=True)
class AuditEntry:
    """One entry.

    Attributes:
        id: Number of the entry; a gap shows that somebody has changed the file by other means.
        time: Seconds since 1970 (UTC).
        who: Account, the name with which somebody tried to log in, or `command line (USER)`; empty for a program.
        action: Name of the action, such as `logon`, `logon_failed` or `package_swapped`.
        object: What it was done to, such as a frame or a package; of a logon the address of the client.
        before, after: State before and after; empty where there is none.
    """

    id: int
    time: float
    who: str
    action: str
    object: str
    before: str
    after: str


class AuditLog:
    """The entries, in the table `audit` of the database."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._database = database

    def add(self, who: str, action: str, obj: str = "", before: str = "", after: str = "") -> None:
        """Add an entry; see `AuditEntry`.

        Raises:
            PageError: it cannot be written; the caller then does not do what it would log.
        """
        with self._database.transaction() as connection:
            write_entry(connection, who, action, obj, before, after)

    def entries(
        self,
        limit: int = 200,
        before_id: int | None = None,
        who: str = "",
        action: str = "",
        *,
        is_part: bool = False,
    ) -> list[AuditEntry]:
        """Return the newest entries, newest first.

        Args:
            limit: Entries at most.
            before_id: Id of an entry; only those before it. None for the newest of all.
            who: Only those with this `who`; empty for all.
            action: Only those with this `action`; empty for all.
            is_part: Whether `who` may be a part of the entry's, with capital letters or without.

        Raises:
            PageError: the database cannot be read.
        """
        is_who = "instr(lower(who), lower(?))" if is_part else "who = ?"
        asked = {"id < ?": 2**62 if before_id is None else before_id, is_who: who, "action = ?": action}
        kept = {condition: value for condition, value in asked.items() if value != ""}
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM audit WHERE {' AND '.join(kept)} ORDER BY id DESC LIMIT ?", *kept.values(), limit
        )
        return [AuditEntry(*row) for row in rows]

    def actions(self) -> list[str]:
        """Return each `action` that has an entry, in order; raises PageError if the database cannot be read."""
        return [row[0] for row in self._database.rows("SELECT DISTINCT action FROM audit ORDER BY action")]

    def to_csv(self) -> Iterator[str]:
        """Yield all entries as CSV, oldest first, with a head and ISO times (UTC); 1,000 entries are held at a time.

        A text that a spreadsheet would compute gets a `'`.

        Raises:
            PageError: the database cannot be read.
        """
        yield _csv_line([field.name for field in fields(AuditEntry)])
        last = 0
        while rows := self._database.rows(f"SELECT {_COLUMNS} FROM audit WHERE id > ? ORDER BY id LIMIT 1000", last):
            last = rows[-1][0]
            for number, seconds, *texts in rows:
                when = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
                yield _csv_line([str(number), when, *map(_harmless, texts)])


def write_entry(
    connection: sqlite3.Connection, who: str, action: str, obj: str = "", before: str = "", after: str = ""
) -> None:
    """Write an entry in a transaction that also writes what the entry tells; see `AuditEntry`.

    Raises:
        sqlite3.Error: the entry cannot be written.
    """
    connection.execute(
        "INSERT INTO audit (time, who, action, object, before, after) VALUES (?, ?, ?, ?, ?, ?)",
        (time.time(), *map(_bounded, (who, action, obj, before, after))),
    )


def _bounded(text: str) -> str:
    text = text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
    return text.encode(errors="replace").decode()  # SQLite refuses half characters, which names of files may have


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def _csv_line(values: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(values)
    return out.getvalue()
