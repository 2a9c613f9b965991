"""The benchmark of commissioning, on a package that knows solid colours."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.benchmarks.conftest import RunBenchmark
from tests.tiny import COLOURS_BGR, solid


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four frames of each colour, and two of another one."""
    rng = np.random.default_rng(0)
    for label in COLOURS_BGR:
        (tmp_path / "line" / label).mkdir(parents=True)
        for number in range(4):
            frame = np.clip(solid(label) + rng.normal(0, 2, solid(label).shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "line" / label / f"{number}.png"), frame)
    (tmp_path / "unknown").mkdir()
    for level in (90, 140):
        cv2.imwrite(str(tmp_path / "unknown" / f"{level}.png"), solid((level, level, level)))
    return tmp_path


@pytest.mark.parametrize("by", ["part", "frame"])
def test_rates_before_and_after(run: RunBenchmark, data: Path, matching_package: Path, by: str) -> None:
    options = ["--frames", str(data / "line"), "--unknown", str(data / "unknown"), "--learn", "6", "--splits", "3"]
    results = run("accuracy.commissioning", str(matching_package), *options, "--by", by, with_data=False)
    assert results["splits"] == 3
    assert results["before_right_first"]["median"] == results["after_right_first"]["median"] == 1
    assert results["after_right_refused"]["median"] <= 0.5
    assert results["after_unknown"]["median"] == 1
    assert 0 <= results["refused_in_interval"] <= 3
