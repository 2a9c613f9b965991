from pathlib import Path

from tests.benchmarks.speed.conftest import FEW, RunSpeed


def test_throughput(run_speed: RunSpeed, matching_package: Path) -> None:
    options = ("--provider", "cpu", "--batch", "1", "3", "--batch-size", "2", "--turn", "0", "--as-taken")
    results = run_speed("throughput", str(matching_package), *FEW, *options)
    assert [(row["frame"], row["batch"]) for row in results["rows"]] == [
        ("320×240", 1), ("320×240", 3), ("as taken", 1), ("as taken", 3),
    ]  # fmt: skip
    assert all(row["configuration"] == "cpu fp32" and row["compared_ms"] > 0 for row in results["rows"])
    assert list(results["left_out"]) == ["cpu fp16", "cpu int8"]  # the package has none
