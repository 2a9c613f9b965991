from pathlib import Path

from tests.benchmarks.speed.conftest import RunSpeed


def test_preprocess(run_speed: RunSpeed, tiny_package: Path) -> None:
    options = ("--frame-size", "64x64", "1280x1024", "--side", "32", "--rounds", "1", "--package", str(tiny_package))
    results = run_speed("preprocess", *options)
    ours = {row["frame"]: row for row in results["rows"] if row["name"] == "partsight"}
    assert ours["1280×1024"]["mean_levels"] < 2 and ours["1280×1024"]["most_levels"] < 40
    assert len(results["rows"]) == 2 * 5
    assert [found["frames"] for found in results["agreement"]] == [4, 4]
