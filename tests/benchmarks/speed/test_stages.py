from pathlib import Path

import pytest

from tests.benchmarks.conftest import RunBenchmark


def test_stages(run: RunBenchmark, matching_package: Path, tmp_path: Path) -> None:
    results = run("speed.stages", str(matching_package), "--batch", "2", "--frames", "8")
    assert results["frames"] == 8
    assert set(results["stages"]) == {
        f"{name}_ms of {size}" for size in (1, 2) for name in ("prepare", "network", "compare")
    }
    assert "16 candidates by thumbnail, 4 by the network, 4 finalists" in (tmp_path / "written.md").read_text("utf-8")
    with pytest.raises(SystemExit, match="--frames"):
        run("speed.stages", str(matching_package), "--batch", "2", "--frames", "3")
