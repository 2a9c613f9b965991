from pathlib import Path

import pytest

from tests.benchmarks.conftest import RunBenchmark

PLACES = ("local", "HTTP", "gRPC")


@pytest.mark.long  # it starts Ray
def test_remote(run: RunBenchmark, matching_package: Path, tmp_path: Path) -> None:
    options = ("--rounds", "1", "--seconds", "0.4", "--clients", "2", "--frames", "4", "--frame-size", "320x240")
    results = run("speed.remote", str(matching_package), *options)
    assert set(results["latency_s"]) == {f"{place}, {size}" for place in PLACES for size in (1, 16)}
    assert set(results["s_per_frame"]) == {"one", "two"}
    assert all(
        len(found) == 1 and found[0] > 0
        for rounds in ("latency_s", "s_per_frame")
        for found in results[rounds].values()
    )
    assert (tmp_path / "written.png").stat().st_size > 5_000
