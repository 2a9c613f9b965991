"""SQLite files: opening, the check that partsight made them, and errors as SinkError."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from partsight.runtime.core import SinkError


@dataclass(frozen=True)
class DatabaseForm:
    """Tables of a database, and the numbers by which partsight knows it.

    Attributes:
        application: Number in the file's header that names the program (SQLite's application_id).
        version: Version of the tables (SQLite's user_version); a file with another version is refused.
        tables: SQL statements that make the tables.
        what: Name of the contents, for messages.
        upgrade: SQL statements that make the tables from those of the version before; empty if there is none.
    """

    application: int
    version: int
    tables: str
    what: str
    upgrade: str = ""


@contextlib.contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into SinkError."""
    try:
        yield
    except (
        sqlite3.DatabaseError,
        UnicodeDecodeError,
    ) as error:  # the latter from a message that quotes a damaged schema
        hint = {
            "SQLITE_FULL": "free the disk",
            "SQLITE_IOERR_WRITE": "free or repair the disk",
            "SQLITE_BUSY": "another program holds it: end that program, or name another file",
            "SQLITE_NOTADB": "it is no SQLite database and stays as it is: name another file",
            "SQLITE_CORRUPT": "it is damaged: move it away, and save its contents by sqlite3's .recover",
        }.get(getattr(error, "sqlite_errorname", ""), "check the rights of its folder, and the disk")
        raise SinkError(f"{path}: {error}; {hint}") from error


def open_database(path: Path, form: DatabaseForm, busy_s: float = 2.0) -> sqlite3.Connection:
    """Open or create a database whose every commit survives a power cut (WAL, synchronous=FULL).

    Args:
        path: Path of the file; if another program removed its folder, the folder is made again.
        form: Tables that the file has to hold.
        busy_s: Seconds that a call waits at most for another program that writes into the file.

    Raises:
        SinkError: the file cannot be opened, another program made it, or it has another version.
    """
    if str(path) == ":memory:":
        raise SinkError(f"{path}: is memory to SQLite, and its contents end with the program; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # again: another program removed it meanwhile
    except OSError as error:
        raise SinkError(f"{path}: cannot be opened ({error}); name a file that you may write to") from error
    with sqlite_errors(path), contextlib.ExitStack() as undo:
        # One thread at a time uses it, but not always the thread that opened it.
        connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
        undo.callback(connection.close)
        _prepare(connection, path, form)
        undo.pop_all()
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, form: DatabaseForm) -> None:
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("BEGIN IMMEDIATE")  # so that no other program makes the tables now
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        for statement in form.tables.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={form.application}")
        connection.execute(f"PRAGMA user_version={form.version}")
    found = _numbers(connection)
    if form.upgrade and found == [form.application, form.version - 1]:
        for statement in form.upgrade.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={form.version}")
        found = _numbers(connection)
    connection.execute("COMMIT")
    if found != [form.application, form.version]:
        raise SinkError(
            f"{path}: is a database of application {found[0]:#x}, version {found[1]}; expected {form.what}, "
            f"{form.application:#x}, version {form.version}; it stays as it is: name another file"
        )
    connection.execute("PRAGMA journal_mode=WAL")


def _numbers(connection: sqlite3.Connection) -> list[int]:
    """Return application and version of a database."""
    return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
