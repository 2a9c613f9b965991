"""The audit log: complete, in order, and never changed."""

import csv
import io

import pytest

from partsight.runtime.core import PageError
from partsight.runtime.page.access.audit import MAX_TEXT, AuditLog
from partsight.runtime.page.access.database import Database


@pytest.fixture
def log(database: Database) -> AuditLog:
    return AuditLog(database)


def rows_of(log: AuditLog) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(log.to_csv()), newline="")))


def test_entries_are_newest_first(log: AuditLog) -> None:
    for number in range(5):
        log.add("ada", "x", str(number), "before", "after")
    newest = log.entries(2)
    assert [entry.object for entry in newest] == ["4", "3"]
    assert (newest[0].who, newest[0].action, newest[0].before, newest[0].after) == ("ada", "x", "before", "after")
    assert [entry.object for entry in log.entries(before_id=newest[-1].id)] == ["2", "1", "0"]


def test_entries_of_a_person_and_an_action(log: AuditLog) -> None:
    for who, action in (("ada", "a"), ("ada", "b"), ("olga", "a")):
        log.add(who, action)
    assert [entry.action for entry in log.entries(who="ada")] == ["b", "a"]
    assert [entry.who for entry in log.entries(action="a")] == ["olga", "ada"]
    assert [entry.id for entry in log.entries(who="ada", action="a")] == [1]


@pytest.mark.parametrize(
    "change", ["UPDATE audit SET who = 'x'", "DELETE FROM audit", "DELETE FROM audit WHERE id = 1"]
)
def test_nothing_is_changed_or_removed(log: AuditLog, database: Database, change: str) -> None:
    log.add("ada", "x")
    with pytest.raises(PageError), database.transaction() as connection:
        connection.execute(change)
    assert log.entries()[0].who == "ada"


def test_csv_has_all_entries_oldest_first(log: AuditLog, database: Database) -> None:
    with database.transaction() as connection:
        connection.executemany(
            "INSERT INTO audit VALUES (NULL, ?, 'ada', 'x', ?, '', '')", [(n / 10, f'ä;"{n}"\n,') for n in range(2500)]
        )
    rows = rows_of(log)
    assert [row["id"] for row in rows] == [str(n + 1) for n in range(2500)]
    assert rows[15]["object"] == 'ä;"15"\n,'
    assert rows[15]["time"] == "1970-01-01T00:00:01.500+00:00"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_spreadsheet_computes_nothing(log: AuditLog, start: str) -> None:
    log.add(f"{start}1+1", "x")
    log.add("1+1", "x")
    assert [row["who"] for row in rows_of(log)] == [f"'{start}1+1", "1+1"]


def test_a_long_or_broken_text_is_kept_in_part(log: AuditLog) -> None:
    log.add("a" * 5000, "x", "\ud800\0é")
    entry = log.entries()[0]
    assert len(entry.who) == MAX_TEXT
    assert entry.who.endswith("a…")
    assert entry.object == "?\0é"


def test_an_entry_that_cannot_be_written_is_an_error(log: AuditLog, database: Database) -> None:
    database.close()
    with pytest.raises(PageError):
        log.add("ada", "x")
