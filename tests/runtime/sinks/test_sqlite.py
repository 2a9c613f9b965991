import sqlite3
from pathlib import Path

import pytest

from partsight.runtime.errors import SinkError
from partsight.runtime.sinks import open_sink
from tests.runtime.sinks.kinds import read_sqlite, told


def test_result_written_twice_is_one_row(tmp_path: Path) -> None:
    with open_sink(f"sqlite:{tmp_path}/out.db") as sink:
        for one in (told(0), told(1), told(0), told(0, run="r2"), told(0, camera="right")):
            sink.write(one)
    keys = [(record.run, record.camera, record.sequence) for record in read_sqlite(tmp_path / "out.db")]
    assert keys == [("r1", "left", 0), ("r1", "left", 1), ("r2", "left", 0), ("r1", "right", 0)]


@pytest.mark.parametrize("other", [{"label": "M6"}, {"timestamp": 1.0}])
def test_another_result_of_the_same_key_is_an_error(tmp_path: Path, other: dict[str, object]) -> None:
    with open_sink(f"sqlite:{tmp_path}/out.db") as sink:
        sink.write(told(0))
        with pytest.raises(SinkError, match="has another result of run 'r1', camera 'left', sequence 0"):
            sink.write(told(0, **other))  # type: ignore[arg-type]
    assert read_sqlite(tmp_path / "out.db") == [told(0).record]


def test_readers_read_while_it_writes(tmp_path: Path) -> None:
    with open_sink(f"sqlite:{tmp_path}/out.db") as sink:
        sink.write(told(0))
        reader = sqlite3.connect(tmp_path / "out.db", isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM result").fetchone() == (1,)
        sink.write(told(1))
        assert reader.execute("SELECT count(*) FROM result").fetchone() == (1,)
        reader.close()


def test_writer_that_holds_it_is_waited_for_no_longer_than_said(tmp_path: Path) -> None:
    with open_sink(f"sqlite:{tmp_path}/out.db?busy_s=0.05") as sink:
        other = sqlite3.connect(tmp_path / "out.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SinkError, match=r"database is locked; another program holds it"):
            sink.write(told(0))
        other.execute("ROLLBACK")
        other.close()
        sink.write(told(0))
    assert read_sqlite(tmp_path / "out.db") == [told(0).record]


def test_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, " * 100)
    with pytest.raises(SinkError, match="it is no SQLite database and is left as it is"):
        open_sink(f"sqlite:{tmp_path}/notes.txt")


@pytest.mark.parametrize("pragma", ["application_id = 7", "user_version = 2"])
def test_database_of_somebody_else_or_another_version(tmp_path: Path, pragma: str) -> None:
    open_sink(f"sqlite:{tmp_path}/out.db").close()
    other = sqlite3.connect(tmp_path / "out.db")
    other.execute(f"PRAGMA {pragma}")
    other.close()
    with pytest.raises(SinkError, match="expected results of partsight, 0x70737274, version 1; it is left as it is"):
        open_sink(f"sqlite:{tmp_path}/out.db")


def test_survives_a_power_cut(tmp_path: Path) -> None:
    """Settings that SQLite documents for it; the cut itself cannot be had here."""
    with open_sink(f"sqlite:{tmp_path}/out.db") as sink:
        connection = sink._connection  # type: ignore[attr-defined]
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


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
