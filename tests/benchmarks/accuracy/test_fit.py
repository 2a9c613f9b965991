"""The benchmark of tolerances, on a package that knows solid colours."""

from pathlib import Path

import msgspec
import pytest

from partsight.runtime.images import Region
from tests.benchmarks.conftest import RunBenchmark
from tests.tiny import tiny_manifest, tiny_matching, write_tiny_package

SERIES = ["turn", "shift", "scale", "light", "blur", "colour order"]


def test_answers_by_amount(run: RunBenchmark, matching_package: Path, tmp_path: Path) -> None:
    results = run("accuracy.fit", str(matching_package), "--parts", "3", with_data=False)
    assert results["parts"] == 3
    assert [series["name"] for series in results["series"]] == SERIES
    for series in results["series"]:
        assert [point["amount"] for point in series["points"]].count(0) == 1
        for point in series["points"]:
            assert point["right"] + point["unknown"] + point["wrong"] == pytest.approx(1)
    assert (tmp_path / "written.png").stat().st_size > 5_000


def test_a_package_that_looks_at_a_region_needs_whole_golden_images(run: RunBenchmark, tmp_path: Path) -> None:
    spec = msgspec.structs.replace(tiny_manifest().preprocess, region=Region(0, 0, 32, 32))
    package = write_tiny_package(tmp_path / "region.partsight", matching=tiny_matching(), preprocess=spec)
    with pytest.raises(SystemExit, match="--data"):
        run("accuracy.fit", str(package), with_data=False)


def test_golden_images_of_other_parts(run: RunBenchmark, matching_package: Path, example_parts: Path) -> None:
    with pytest.raises(SystemExit, match=str(example_parts / "golden")):
        run("accuracy.fit", str(matching_package))
