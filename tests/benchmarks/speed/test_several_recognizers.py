from pathlib import Path

from tests.benchmarks.conftest import RunBenchmark


def test_several_recognizers(run: RunBenchmark, matching_package: Path) -> None:
    options = (str(matching_package), "--rounds", "1", "--seconds", "0.3", "--cameras", "2", "--frames", "4")
    results = run("speed.several_recognizers", *options, "--frame-size", "320x240", "--load", "0.1")
    assert set(results["rounds"]) == {"saturated", "paced"}
    for found in results["rounds"].values():
        assert set(found) == {"1", "2"}
        assert all(turn["frames_per_s"] > 0 and turn["p50_ms"] <= turn["p99_ms"] for (turn,) in found.values())
