"""A campaign finds the defect of each job that is broken on purpose, and none in a job that works."""

from typing import Any

import pytest

from tests.faults.broken import BROKEN
from tests.faults.campaign import Row
from tests.faults.child import Rows, rows_of
from tests.faults.injector import Kind, why_not
from tests.faults.report import HEAD, line_of, summary

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")

_DEADLY = ("kill", "power")
_FAULTS = ("error", "full", "short", *_DEADLY, "unreadable", "vanished")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    options = [option for fault in _FAULTS for option in ("--fault", fault)]
    return rows_of(tmp_path_factory.mktemp("faults"), *options, module="tests.faults.broken")


def of(rows: Rows, job: str) -> dict[str, dict[str, Any]]:
    return {fault: row for (name, fault), row in rows.items() if name == job}


def faults_with(rows: Rows, job: str, field: str) -> set[str]:
    return {fault for fault, row in of(rows, job).items() if row[field]}


def test_all_ran(rows: Rows) -> None:
    assert {job for job, _ in rows} == set(BROKEN)


def test_a_job_that_goes_well(rows: Rows) -> None:
    """Its operations: mkdir (the folder is there), open, write, flush, close, rename, unlink (it is gone)."""
    found = of(rows, "well")
    assert [problem for row in found.values() for problem in row["problems"]] == []
    met = {fault: (row["operations"], row["injected"]) for fault, row in found.items()}
    assert met["kill"] == (7, 7)
    assert met["power"] == (7, 8)  # and after the end
    assert met["short"] == (1, 1)
    assert met["full"] == (7, 4)  # the others take no space
    assert (found["kill"]["old"], found["kill"]["new"]) == (6, 1)
    assert (found["short"]["old"], found["short"]["new"]) == (0, 1)  # the rest is written by another call
    for row in found.values():
        assert row["old"] + row["new"] == row["injected"] == row["again"] > 0


def test_a_file_written_in_place_is_found_half_written(rows: Rows) -> None:
    found = of(rows, "in place")
    assert {"full", "kill", "power"} <= faults_with(rows, "in place", "between")
    assert "ValueError('half of it')" in " ".join(found["kill"]["problems"])


def test_a_power_cut_alone_loses_an_unflushed_file(rows: Rows) -> None:
    assert faults_with(rows, "unflushed", "between") == {"power"}
    assert not faults_with(rows, "never cleared", "between")


def test_leftovers_that_no_run_clears(rows: Rows) -> None:
    assert set(_DEADLY) <= faults_with(rows, "never cleared", "left")


def test_a_next_run_that_does_not_work(rows: Rows) -> None:
    for fault in _DEADLY:
        row = of(rows, "stuck")[fault]
        assert 0 < row["again"] < row["injected"]


def test_table() -> None:
    rows = [
        Row("a", Kind.ERROR, 5, 5, 4, 1, again=5),
        Row("a", Kind.FULL, 5, 3, 3, again=3),
        Row("a", Kind.CUT, 7, 7, 7, again=7),
        Row("b", Kind.KILL, 9, 9, 7, 1, 1, again=8),
    ]
    head, _, first, _, last = ([cell.strip() for cell in line.split("|")] for line in summary(rows).splitlines())
    assert dict(zip(head, first, strict=True)).items() >= {("operations", "12"), ("injected", "15"), ("old", "14")}
    assert dict(zip(head, last, strict=True)).items() >= {("between", "1"), ("next run works", "23"), ("new", "2")}
    assert len(line_of(rows[0]).split("|")) == len(HEAD.splitlines()[0].split("|"))


def test_an_unreported_error(rows: Rows) -> None:
    assert "exit code 0" in of(rows, "silent")["error"]["problems"][0]
    assert "ended with 70" in of(rows, "raises")["error"]["problems"][0]
    assert not {"silent", "raises"} & {
        job for job, fault in rows if fault in _DEADLY and rows[job, fault]["unreported"]
    }
