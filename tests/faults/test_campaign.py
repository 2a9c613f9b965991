"""A campaign notices what it is there for: jobs that are broken on purpose are told from one that is not."""

from typing import Any

import pytest

from tests.faults.broken import BROKEN
from tests.faults.child import Rows, rows_of
from tests.faults.injector import why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")

_DEADLY = ("kill", "power")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return rows_of(tmp_path_factory.mktemp("faults"), module="tests.faults.broken")


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


def test_what_is_written_in_place_is_found_half(rows: Rows) -> None:
    found = of(rows, "in place")
    assert {"full", "kill", "power"} <= faults_with(rows, "in place", "between")
    assert "out is not whole: ValueError('half of it')" in " ".join(found["kill"]["problems"])


def test_what_is_not_flushed_is_lost_in_a_power_cut_alone(rows: Rows) -> None:
    assert faults_with(rows, "unflushed", "between") == {"power"}
    assert not faults_with(rows, "never cleared", "between")


def test_what_is_never_cleared(rows: Rows) -> None:
    assert set(_DEADLY) <= faults_with(rows, "never cleared", "left")


def test_a_next_run_that_does_not_work(rows: Rows) -> None:
    for fault in _DEADLY:
        row = of(rows, "stuck")[fault]
        assert 0 < row["again"] < row["injected"]


def test_an_error_that_nobody_is_told(rows: Rows) -> None:
    assert "says that it is done, and is not" in " ".join(of(rows, "silent")["error"]["problems"])
    assert "without an error of partsight's" in " ".join(of(rows, "raises")["error"]["problems"])
    assert not {"silent", "raises"} & {job for job, fault in rows if fault in _DEADLY and rows[job, fault]["untold"]}
