"""The audit log: who did what when, with the state before and after. Nothing in it is changed or removed."""

import csv
import io
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields

from partsight.runtime.page.access.database import Database

_COLUMNS = "id, time, who, action, object, before, after"


@dataclass(frozen=True)
class AuditEntry:
    """One entry.

    Attributes:
        id: Number of the entry; a gap shows that somebody has changed the file by other means.
        time: Seconds since 1970 (UTC).
        who: Account, or the name with which somebody tried to log in.
        action: What was done, such as `logon`, `logon_failed` or `package_swapped`.
        object: What it was done to, such as a frame or a package.
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
            connection.execute(
                "INSERT INTO audit (time, who, action, object, before, after) VALUES (?, ?, ?, ?, ?, ?)",
                (time.time(), who, action, obj, before, after),
            )

    def entries(self, limit: int = 200, before_id: int | None = None) -> list[AuditEntry]:
        """Return the newest entries, newest first; those before an entry if its id is given."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?",
                (2**62 if before_id is None else before_id, limit),
            ).fetchall()
        return [AuditEntry(*row) for row in rows]

    def to_csv(self) -> Iterator[str]:
        """Yield all entries as CSV, oldest first, with a head; a text that a spreadsheet would compute gets a `'`."""
        yield _csv_line([field.name for field in fields(AuditEntry)])
        first = 0
        while True:
            with self._database.transaction() as connection:
                rows = connection.execute(
                    f"SELECT {_COLUMNS} FROM audit WHERE id > ? ORDER BY id LIMIT 1000",
                    (first,),
                ).fetchall()
            if not rows:
                return
            first = rows[-1][0]
            for row in rows:
                yield _csv_line([_harmless(value) for value in astuple(AuditEntry(*row))])


def _harmless(value: object) -> str:
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in "=+-@\t\r" and text else text


def _csv_line(values: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(values)
    return out.getvalue()
