"""`sqlite:PATH`: a table of a SQLite database, one row a result."""

import logging
import sqlite3
from pathlib import Path
from typing import Annotated, Self

import msgspec

from partsight.runtime.core import ProcessBound, ResultRefusedError, SinkError, SinkGoneError
from partsight.runtime.sinks.address import Address, Options
from partsight.runtime.sinks.database import DatabaseForm, open_database, sqlite_errors
from partsight.runtime.sinks.files import check_folder, file_identity
from partsight.runtime.sinks.record import FrameEvent, Record
from partsight.runtime.sinks.sink import Sink

FORM = DatabaseForm(
    application=0x70737274,  # "psrt"
    version=2,
    what="results of partsight",
    tables="""
        CREATE TABLE result (
            run TEXT NOT NULL,
            camera TEXT NOT NULL,
            sequence INTEGER NOT NULL,
            schema_version INTEGER NOT NULL,
            outcome TEXT NOT NULL,
            source TEXT NOT NULL,
            timestamp REAL NOT NULL,
            package_id TEXT NOT NULL,
            signed_by TEXT NOT NULL,
            label TEXT,
            score REAL,
            margin REAL,
            top TEXT NOT NULL,
            latency_ms REAL,
            error TEXT NOT NULL,
            reason TEXT,
            threshold REAL,
            least_margin REAL,
            pose TEXT,
            reference INTEGER,
            UNIQUE (run, camera, sequence)
        );
        CREATE INDEX result_by_time ON result (timestamp)
    """,
    upgrade="""
        ALTER TABLE result ADD COLUMN reason TEXT;
        ALTER TABLE result ADD COLUMN threshold REAL;
        ALTER TABLE result ADD COLUMN least_margin REAL;
        ALTER TABLE result ADD COLUMN pose TEXT;
        ALTER TABLE result ADD COLUMN reference INTEGER
    """,
)
_COLUMNS = Record.__struct_fields__
_INSERT = (
    f"INSERT INTO result ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)}) "
    "ON CONFLICT (run, camera, sequence) DO NOTHING"
)
_SAME = (
    "SELECT count(*) FROM result WHERE run = :run AND camera = :camera AND sequence = :sequence "
    "AND timestamp = :timestamp AND outcome = :outcome AND label IS :label AND error = :error"
)
_log = logging.getLogger("partsight.sinks")


class SqliteOptions(Options, frozen=True, kw_only=True):
    """Options of the database.

    Attributes:
        busy_s: Seconds that a result waits at most for another program that writes into the database.
    """

    busy_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 2.0


class SqliteTable(ProcessBound, unusable=SinkGoneError):
    """Inserts into the table `result`; a result that is written twice is one row."""

    def __init__(self, path: str | Path, options: SqliteOptions | None = None) -> None:
        """Open or create the database; one of an earlier partsight gets the columns that it lacks.

        Raises:
            SinkError: the file cannot be opened, another program made it, or it has another version.
        """
        self._path, self._options = Path(path), options or SqliteOptions()
        self._closed = False
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        check_folder(self._path)
        self._open()

    def write(self, event: FrameEvent) -> None:
        """Insert a row; when this returns, not even a power cut loses it.

        Raises:
            ResultRefusedError: the table has another result of the same run, camera and sequence.
            SinkError: the disk is full or failed, or another program holds the database for too long.
        """
        if self._closed:
            raise SinkGoneError(f"{self._path}: this sink is closed; open it again")
        connection = self._open()
        record = event.record
        values = {name: _value(getattr(record, name)) for name in _COLUMNS}
        values["top"] = msgspec.json.encode(record.top).decode()
        values["pose"] = None if record.pose is None else msgspec.json.encode(record.pose).decode()
        with sqlite_errors(self._path):
            inserted = connection.execute(_INSERT, values).rowcount
            if not inserted and connection.execute(_SAME, values).fetchone() != (1,):
                raise ResultRefusedError(
                    f"{self._path}: has another result of run {record.run!r}, camera {record.camera!r}, sequence "
                    f"{record.sequence}, which stays; give each run its own id"
                )

    def close(self) -> None:
        """Close the database. May be called twice."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            with sqlite_errors(self._path):
                connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> sqlite3.Connection:
        """Return the connection to the file at the path; if another program replaced the file, to the new one."""
        if self._connection is not None and file_identity(self._path) != self._identity:
            self._leave(self._connection)
            self._connection = None
            text = "%s: another program removed or replaced it; partsight opens it again"
            _log.warning(text, self._path, extra={"event": "file_changed"})
        if self._connection is None:
            self._connection = open_database(self._path, FORM, self._options.busy_s)
            self._identity = file_identity(self._path)
        return self._connection

    def _leave(self, connection: sqlite3.Connection) -> None:
        """Close a file that another program removed, with its log, so that the log enters no other file of its name."""
        with sqlite_errors(self._path):
            is_busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if is_busy:
                raise SinkError(
                    f"{self._path}: was removed or replaced while another program has it open; end that program"
                )
            connection.close()


def _value(value: object) -> object:
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


OPTIONS = SqliteOptions


def open_address(address: Address) -> Sink:
    """Open `sqlite:PATH`.

    Raises:
        SinkError: see `SqliteTable`; or an option is wrong.
    """
    options = address.read_options(SqliteOptions)
    if not address.place:
        raise SinkError("sink sqlite: names no file; expected sqlite:PATH")
    return SqliteTable(address.place, options)
