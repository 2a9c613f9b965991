from pathlib import Path

import pytest

from benchmarks.speed.batch_work import BARE, PLAIN, Turn, check_labels, rows_of
from tests.benchmarks.conftest import RunBenchmark
from tests.runtime.cluster.batch.conftest import RAY_DATA_WARNS


@pytest.mark.filterwarnings(RAY_DATA_WARNS)
def test_ray_data_against_a_plain_loop(run: RunBenchmark, matching_package: Path) -> None:
    options = ("--frames", "8", "--chunk", "2", "--rounds", "1", "--actors", "1")
    results = run("speed.batch_work", str(matching_package), *options)
    assert [row["configuration"] for row in results["rows"]] == [PLAIN, BARE, "Ray Data, 1 actor"]
    assert all(row["frames_per_s"] > 0 for row in results["rows"])
    assert results["rows"][0]["ratio"] == 1
    with pytest.raises(SystemExit, match="--frames"):
        run("speed.batch_work", str(matching_package), "--frames", "2", "--chunk", "2", "--actors", "1")


def turn(rate: float, *labels: str | None) -> Turn:
    return Turn(rate, 1.0, labels)


def test_ratios_are_those_within_a_round() -> None:
    found = {PLAIN: [turn(10), turn(1000), turn(10)], "fast": [turn(20), turn(1000), turn(30)]}
    plain, fast = rows_of(found)
    assert (plain.ratio, fast.ratio, fast.frames_per_s) == (1, 2, 30)


def test_other_answers_are_refused() -> None:
    check_labels({PLAIN: [turn(1, "a", None)], "same": [turn(1, "a", None)]})
    with pytest.raises(SystemExit, match="other"):
        check_labels({PLAIN: [turn(1, "a", None)], "other": [turn(1, "a", "b")]})
