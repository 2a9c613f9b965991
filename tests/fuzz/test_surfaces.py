"""Ten thousand hostile inputs for all surfaces; `make fuzz` runs a million, and others with `--first`."""

from collections.abc import Iterator

import pytest

from tests.fuzz.catalog import SURFACES
from tests.fuzz.report import describe, table
from tests.fuzz.runner import Tally, run_shares, usable_cores

CASES = 10_000

pytestmark = pytest.mark.timeout(1800)  # some seconds on two idle cores, all of it in the first test


@pytest.fixture(scope="module")
def tallies() -> Iterator[dict[str, Tally]]:
    jobs = max(2, usable_cores()) + 1  # one job usually waits for a peer
    found = {tally.surface: tally for tally in run_shares(list(SURFACES.values()), 0, CASES, jobs)}
    yield found
    print(table(list(found.values())))


@pytest.mark.parametrize("name", SURFACES)
def test_each_case_is_accepted_or_a_typed_error(name: str, tallies: dict[str, Tally]) -> None:
    if name not in tallies:
        pytest.skip(f"needs {', '.join(SURFACES[name].needs)}")
    tally = tallies[name]
    assert not tally.findings, "\n\n".join(describe(finding) for finding in tally.findings[:3])
    assert tally.accepted + tally.refused == tally.cases > 0


def test_all_cases_ran(tallies: dict[str, Tally]) -> None:
    assert sum(tally.cases for tally in tallies.values()) == CASES
