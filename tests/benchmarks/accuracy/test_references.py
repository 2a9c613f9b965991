"""The benchmark of further references, on a package that knows solid colours."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.benchmarks.conftest import RunBenchmark
from tests.tiny import COLOURS_BGR, solid


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A golden image and two frames of each colour; frames of the first have a texture that its golden image lacks."""
    shade = np.kron(np.random.default_rng(3).uniform(0.5, 1, (6, 8, 1)), np.ones((8, 8, 1)))
    for label in COLOURS_BGR:
        image = solid(label)
        for folder in (tmp_path / "golden", tmp_path / "line" / label):
            folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "golden" / f"{label}.png"), image)
        for number in (1, 2):
            frame = (image * shade).astype(np.uint8) if label == "blue" else image
            cv2.imwrite(str(tmp_path / "line" / label / f"{number}.png"), frame)
    (tmp_path / "unknown").mkdir()
    cv2.imwrite(str(tmp_path / "unknown" / "grey.png"), solid((128, 128, 128)))
    return tmp_path


def test_shares_with_and_without_further_references(run: RunBenchmark, data: Path, matching_package: Path) -> None:
    results = run("accuracy.references", str(matching_package), "--data", str(data), with_data=False)
    assert (results["frames"], results["unknown_frames"]) == (6, 1)
    golden, further = results["matched"]["golden"], results["matched"]["further"]
    assert golden["right_first"] == further["right_first"] == [1, 1]
    assert golden["refused"] == [pytest.approx(1 / 3), 0]  # of blue, green and red; the textured frame of blue
    assert further["refused"] == [0, 0]
    assert golden["by_further"] == [0, 0]
    assert further["by_further"][0] >= 1 / 3  # green and red have two equal references
    assert further["by_further"][1] == 0
    assert golden["unknown_refused"] == further["unknown_refused"] == 1
    assert results["network"]["golden"]["right_first"] == results["network"]["mean"]["right_first"] == [1, 1]
