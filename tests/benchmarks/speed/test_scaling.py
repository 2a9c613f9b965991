from pathlib import Path

from tests.benchmarks.speed.conftest import RunSpeed


def test_scaling(run_speed: RunSpeed, matching_package: Path) -> None:
    options = ("--classes", "--no-cores", "--camera-turn", "0.1", "--rounds", "1")
    results = run_speed("scaling", str(matching_package), *options)
    assert [row["cameras"] for row in results["cameras"]] == [1, 2, 4, 8, 16]
    assert all(row["p50_ms"] <= row["p99_ms"] for row in results["cameras"])
