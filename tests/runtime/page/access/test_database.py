"""The file of accounts and audit log: its rights, and several programs at a time."""

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from partsight.runtime.core import KeyFileError, PageError
from partsight.runtime.page.access.audit import AuditLog
from partsight.runtime.page.access.database import FILE, Database
from tests.waiting import HANG_S

POSIX = pytest.mark.skipif(os.name == "nt", reason="rights work differently")


@POSIX
def test_only_its_owner_can_read_it(database: Database) -> None:
    assert stat.S_IMODE(database.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in database.folder.iterdir()} == {0o600}


@POSIX
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_others_can_read_is_refused(database: Database, mode: int) -> None:
    path = database.folder / FILE
    path.chmod(mode)
    with pytest.raises(PageError) as refused:
        Database(database.folder)
    assert f"chmod 600 {path}" in str(refused.value)


@POSIX
def test_a_folder_that_others_can_change_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(KeyFileError):
        Database(tmp_path)
    assert not (tmp_path / FILE).exists()


@POSIX
def test_a_folder_that_others_can_read_is_accepted(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Database(tmp_path).close()


def test_a_folder_without_parents(tmp_path: Path) -> None:
    with pytest.raises(PageError):
        Database(tmp_path / "no" / "data")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(PageError):
        Database(tmp_path)


def test_a_database_of_a_newer_version(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(PageError):
        Database(database.folder)


def test_a_transaction_is_kept_whole_or_not_at_all(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        connection.execute("INSERT INTO audit VALUES (NULL, 1, 'ada', 'x', '', '', '')")
        raise ZeroDivisionError
    assert database.rows("SELECT * FROM audit") == []


def test_an_error_of_the_database_is_named(database: Database) -> None:
    with pytest.raises(PageError):
        database.rows("SELECT * FROM nothing")
    database.close()
    with pytest.raises(PageError), database.transaction():
        pass


def test_two_programs_write_at_a_time(database: Database) -> None:
    code = f"""
from partsight.runtime.page import AuditLog, Database
log = AuditLog(Database({str(database.folder)!r}))
for number in range(30):
    log.add("other", "x", str(number))
"""
    other = subprocess.Popen([sys.executable, "-c", code])
    log = AuditLog(database)
    for number in range(30):
        log.add("this", "x", str(number))
    assert other.wait(HANG_S) == 0
    entries = log.entries()
    assert [entry.id for entry in entries] == list(range(60, 0, -1))
    for who in ("this", "other"):
        assert [entry.object for entry in entries if entry.who == who] == [str(n) for n in range(29, -1, -1)]


def test_threads_of_other_programs_wait_for_a_writer(database: Database) -> None:
    other = sqlite3.connect(database.folder / FILE, timeout=0, isolation_level=None)
    with database.transaction(), pytest.raises(sqlite3.OperationalError):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()
