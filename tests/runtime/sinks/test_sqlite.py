import logging
import os
import sqlite3
from pathlib import Path

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks import open_sink
from partsight.runtime.sinks.database import open_database
from partsight.runtime.sinks.sqlite import FORM
from tests.runtime.sinks.kinds import event, read_sqlite


def test_result_written_twice_is_one_row(tmp_path: Path) -> None:
    with open_sink(f"sqlite:{tmp_path}/out.db") as sink:
        for one in (event(0), event(1), event(0), event(0, run="r2"), event(0, camera="right")):
            sink.write(one)
    keys = [(record.run, record.camera, record.sequence) for record in read_sqlite(tmp_path / "out.db")]
    assert keys == [("r1", "left", 0), ("r1", "left", 1), ("r2", "left", 0), ("r1", "right", 0)]


@pytest.mark.parametrize("other", [{"label": "M6"}, {"timestamp": 1.0}])
def test_another_result_of_the_same_key_is_an_error(tmp_path: Path, other: dict[str, object]) -> None:
    with open_sink(f"sqlite:{tmp_path}/out.db") as sink:
        sink.write(event(0))
        with pytest.raises(SinkError, match=r"'r1'.*'left'.* 0"):
            sink.write(event(0, **other))  # type: ignore[arg-type]
    assert read_sqlite(tmp_path / "out.db") == [event(0).record]


def test_readers_read_while_it_writes(tmp_path: Path) -> None:
    with open_sink(f"sqlite:{tmp_path}/out.db") as sink:
        sink.write(event(0))
        reader = sqlite3.connect(tmp_path / "out.db", isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM result").fetchone() == (1,)
        sink.write(event(1))
        assert reader.execute("SELECT count(*) FROM result").fetchone() == (1,)
        reader.close()


def test_the_wait_for_another_writer_ends_at_its_limit(tmp_path: Path) -> None:
    with open_sink(f"sqlite:{tmp_path}/out.db?busy_s=0.05") as sink:
        other = sqlite3.connect(tmp_path / "out.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SinkError, match="database is locked"):
            sink.write(event(0))
        other.execute("ROLLBACK")
        other.close()
        sink.write(event(0))
    assert read_sqlite(tmp_path / "out.db") == [event(0).record]


def test_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, " * 100)
    with pytest.raises(SinkError, match=r"notes\.txt"):
        open_sink(f"sqlite:{tmp_path}/notes.txt")


@pytest.mark.parametrize("pragma", ["application_id = 7", "user_version = 3"])
def test_database_of_somebody_else_or_another_version(tmp_path: Path, pragma: str) -> None:
    open_sink(f"sqlite:{tmp_path}/out.db").close()
    other = sqlite3.connect(tmp_path / "out.db")
    other.execute(f"PRAGMA {pragma}")
    other.close()
    with pytest.raises(SinkError, match="0x70737274, version 2"):
        open_sink(f"sqlite:{tmp_path}/out.db")


def test_a_table_of_an_earlier_partsight_gets_the_new_columns(tmp_path: Path) -> None:
    path = tmp_path / "out.db"
    with open_sink(f"sqlite:{path}") as sink:
        sink.write(event(0))
    other = sqlite3.connect(path)
    for name in ("reason", "threshold", "least_margin", "pose", "reference"):
        other.execute(f"ALTER TABLE result DROP COLUMN {name}")
    other.execute("PRAGMA user_version = 1")
    other.commit()
    other.close()
    for sequence in (1, 2):  # once upgraded, it is opened as it is
        with open_sink(f"sqlite:{path}") as sink:
            sink.write(event(sequence))
    found = read_sqlite(path)
    assert [(record.sequence, record.reason) for record in found] == [(0, None), (1, "recognised"), (2, "recognised")]
    assert found[2] == event(2).record


def test_survives_a_power_cut(tmp_path: Path) -> None:
    """Settings that SQLite documents for it; the cut itself cannot be had here."""
    connection = open_database(tmp_path / "out.db", FORM)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_damaged_schema(tmp_path: Path) -> None:
    """SQLite's message quotes it, and is then no UTF-8 itself."""
    path = tmp_path / "results.db"
    open_sink(f"sqlite:{path}").close()
    data = (
        path.read_bytes().replace(b"schema_version", b"sch\xc3ma_version").replace(b"CREATE INDEX", b"CREATE \xffNDEX")
    )
    path.write_bytes(data)
    with pytest.raises(SinkError, match=r"results\.db: "):
        open_sink(f"sqlite:{path}")


@pytest.mark.skipif(os.name == "nt", reason="Windows neither removes nor replaces an open file")
@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
def test_database_that_another_program_takes_away(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    path, moved = tmp_path / "out.db", tmp_path / "moved.db"
    open_sink(f"sqlite:{tmp_path}/other.db").close()
    with caplog.at_level(logging.WARNING), open_sink(f"sqlite:{path}") as sink:
        sink.write(event(0))
        path.rename(moved)
        if how == "removed":
            moved.unlink()
        elif how == "replaced":
            (tmp_path / "other.db").rename(path)
        for sequence in (1, 2):
            sink.write(event(sequence))
    assert [record.sequence for record in read_sqlite(path)] == [1, 2]
    assert how == "removed" or [record.sequence for record in read_sqlite(moved)] == [0]
    assert [getattr(record, "event", "") for record in caplog.records] == ["file_changed"]


@pytest.mark.skipif(os.name == "nt", reason="Windows does not move an open file")
def test_database_that_is_taken_away_while_it_is_read(tmp_path: Path) -> None:
    """SQLite would make the old one's log that of the new one."""
    path, moved = tmp_path / "out.db", tmp_path / "moved.db"
    with open_sink(f"sqlite:{path}?busy_s=0.05") as sink:
        sink.write(event(0))
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM result").fetchall()
        sink.write(event(1))
        path.rename(moved)
        with pytest.raises(SinkError, match=r"out\.db"):
            sink.write(event(2))
        reader.close()
        sink.write(event(2))
    assert [[record.sequence for record in read_sqlite(one)] for one in (moved, path)] == [[0, 1], [2]]


def test_database_in_memory() -> None:
    with pytest.raises(SinkError, match=":memory:"):
        open_sink("sqlite::memory:")
