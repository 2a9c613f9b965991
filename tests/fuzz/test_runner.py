"""The runner finds each defect, counts it, and continues with the next case."""

import pytest

from tests.fuzz.broken import AT, BROKEN
from tests.fuzz.catalog import SURFACES
from tests.fuzz.report import describe, table
from tests.fuzz.runner import run, run_shares
from tests.fuzz.surface import Surface, random_of

CASES = 12


def test_cases_that_go_well() -> None:
    tally = run(BROKEN["well"], 0, CASES, jobs=2)
    assert (tally.cases, tally.accepted, tally.refused, tally.findings) == (CASES, CASES / 2, CASES / 2, [])


@pytest.mark.parametrize(
    ("name", "kind", "datum"),
    [
        ("raises", "crash", "IndexError"),
        ("raises-in-a-thread", "crash", "ZeroDivisionError"),
        ("wrong", "wrong", "WrongError"),
        ("dies", "crash", "SIGSEGV"),
        ("exits", "crash", "status 3"),
        ("hangs", "hang", "0.5 s"),
        ("swells", "memory", "MemoryError"),
    ],
)
def test_a_case_that_goes_wrong(name: str, kind: str, datum: str) -> None:
    tally = run(BROKEN[name], 0, CASES)
    (finding,) = tally.findings
    assert (finding.number, finding.kind) == (AT, kind)
    assert datum in finding.summary
    assert tally.cases == CASES
    assert tally.accepted + tally.refused == CASES - 1
    assert f"--surface {name} --first {AT} --cases 1" in describe(finding)
    assert finding.summary in describe(finding)


def test_a_case_is_always_the_same() -> None:
    assert random_of("labels", 3).random() == random_of("labels", 3).random()
    assert random_of("labels", 3).random() != random_of("labels", 4).random()


def test_shares_make_a_million() -> None:
    assert sum(surface.share for surface in SURFACES.values()) == 1_000_000


def test_cases_are_dealt_out_by_shares_without_a_gap() -> None:
    surfaces = [Surface("well", BROKEN["well"].open, share) for share in (3, 7)]
    surfaces.append(Surface("gone", BROKEN["well"].open, 10, needs=("no_such_library",)))
    counts = [[tally.cases for tally in run_shares(surfaces, first, 10, 2)] for first in (0, 10)]
    assert counts == [[3, 7], [3, 7]]
    assert [tally.cases for tally in run_shares(surfaces, 0, 11, 2)] == [3, 8]


def test_table() -> None:
    tally = run(BROKEN["wrong"], AT, 1)
    head, _, row, total = table([tally]).splitlines()
    cells = dict(zip(*([cell.strip() for cell in line.split("|")] for line in (head, row)), strict=True))
    assert (cells["cases"], cells["wrong"], cells["crash"], cells["accepted"]) == ("1", "1", "0", "0")
    assert total.startswith("| all")
