import sys
from pathlib import Path

from tests.benchmarks.speed.conftest import FEW, RunSpeed


def test_startup(run_speed: RunSpeed, tiny_package: Path) -> None:
    results = run_speed("startup", str(tiny_package), *FEW, "--batch", "2", "--provider", "cpu", frames=False)
    assert [row["name"] for row in results["rows"]] == [
        "plain ONNX Runtime fp32", "cpu fp32, network alone", "cpu fp32, golden images",
    ]  # fmt: skip
    assert not any(found["tensorflow"] for found in results["import"])
    if sys.platform == "linux":
        assert all(row["peak_batches_mb"] >= row["peak_mb"] > row["resident_mb"] / 2 for row in results["rows"])
