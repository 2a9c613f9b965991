from pathlib import Path

from tests.benchmarks.conftest import RunBenchmark


def test_page_cost(run: RunBenchmark, matching_package: Path) -> None:
    options = (str(matching_package), "--rounds", "1", "--seconds", "0.6", "--browsers", "1", "--cameras", "1")
    results = run("speed.page_cost", *options, "--frame-size", "320x240", "--frames", "4", "--load", "0.1")
    assert set(results["rounds"]) == {"paced", "saturated"}
    for found in results["rounds"].values():
        assert [len(turns) for turns in found.values()] == [1, 1, 1]
        assert all(turn["frames_per_s"] > 0 and turn["p50_ms"] <= turn["p99_ms"] for (turn,) in found.values())
        assert found["no page"][0]["browsers_cpu"] == 0
