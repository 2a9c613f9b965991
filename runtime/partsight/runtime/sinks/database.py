"""SQLite files: opened, checked to be ours, and errors told as SinkError."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from partsight.runtime.core import SinkError


@dataclass(frozen=True)
class Form:
    """What a database holds.

    Attributes:
        application: a number in the file's header that says whose file it is (SQLite's application_id).
        version: of the tables (SQLite's user_version); a file of another one is refused.
        tables: SQL that makes them.
        what: they are, for messages.
    """

    application: int
    version: int
    tables: str
    what: str


@contextlib.contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into SinkError."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # of a damaged schema, which the message quotes
        hint = {
            "SQLITE_FULL": "free the disk",
            "SQLITE_IOERR_WRITE": "free or mend the disk",
            "SQLITE_BUSY": "another program holds it: end that one, or name another file",
            "SQLITE_NOTADB": "it is no SQLite database and is left as it is: name another file",
            "SQLITE_CORRUPT": "it is damaged: move it away, and save what is in it by sqlite3's .recover",
        }.get(getattr(error, "sqlite_errorname", ""), "is its folder writable, and the disk sound?")
        raise SinkError(f"{path}: {error}; {hint}") from error


def open_database(path: Path, form: Form, busy_s: float = 2.0) -> sqlite3.Connection:
    """Open or create a database whose every commit survives a power cut (WAL, synchronous=FULL).

    Args:
        path: of the file; its folder is made again where another program removed it.
        form: what it has to hold.
        busy_s: seconds that a call waits at most for another program that writes into it.

    Raises:
        SinkError: it cannot be opened, or is somebody else's or of another version.
    """
    if str(path) == ":memory:":
        raise SinkError(f"{path}: is no file to SQLite, and what is in it ends with the program; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # again: another program removed it meanwhile
    except OSError as error:
        raise SinkError(f"{path}: cannot be opened ({error}); name a file that you may write to") from error
    with telling(path), contextlib.ExitStack() as undo:
        # Used by one thread at a time, yet not always by the one that opened it.
        connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
        undo.callback(connection.close)
        _prepare(connection, path, form)
        undo.pop_all()
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, form: Form) -> None:
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("BEGIN IMMEDIATE")  # no other program makes the tables meanwhile
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        for statement in form.tables.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={form.application}")
        connection.execute(f"PRAGMA user_version={form.version}")
    found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    connection.execute("COMMIT")
    if found != [form.application, form.version]:
        raise SinkError(
            f"{path}: is a database of application {found[0]:#x}, version {found[1]}; expected {form.what}, "
            f"{form.application:#x}, version {form.version}; it is left as it is: name another file"
        )
    connection.execute("PRAGMA journal_mode=WAL")
