from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.conftest import Results, RunBenchmark

RunSpeed = Callable[..., Results]
FEW = ("--frame-size", "320x240", "--rounds", "1")


@pytest.fixture
def run_speed(run: RunBenchmark, tmp_path: Path) -> RunSpeed:
    """Runs a speed benchmark, which draws a picture, too."""

    def run_speed(name: str, *options: str, frames: bool = True) -> Results:
        results = run(f"speed.{name}", *options, *(["--frames", "4"] if frames else []))
        assert (tmp_path / "written.png").stat().st_size > 5_000
        return results

    return run_speed
