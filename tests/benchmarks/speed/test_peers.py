import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed import peers
from tests.benchmarks.speed.conftest import FEW, RunSpeed


def test_peers(run_speed: RunSpeed, tiny_package: Path) -> None:
    only = ("Keras predict", "naive", "partsight cpu fp32", "raw session cpu fp32")
    results = run_speed("peers", str(tiny_package), *FEW, "--batch", "2", "--turn", "0", "--only", *only)
    names = [row["name"] for row in results["rows"]]
    assert names == ["naive ONNX Runtime fp32", "partsight cpu fp32", "raw session cpu fp32"]
    assert all(row["labels_equal"] == 1.0 for row in results["rows"])
    assert "--run" in results["left_out"]["Keras predict"]


def test_a_competitor_whose_library_is_missing_is_left_out(
    run_speed: RunSpeed, tiny_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('none here')\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of the competitors alone
    with pytest.raises(SystemExit, match="none here"):
        run_speed("peers", str(tiny_package), *FEW, "--batch", "1", "--only", "naive")


def test_networks_that_differ_are_not_compared(tiny_package: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"weights_sha256": "of another run"}', "utf-8")
    with pytest.raises(SystemExit, match=re.escape(str(tmp_path))):
        peers.main([str(tiny_package), "--run", str(tmp_path)])


def test_goals_are_judged() -> None:
    def row(name: str, kind: str, seconds: float) -> Any:
        return peers.PeerRow(16, name, kind, [seconds] * 3, 1.0, 1.0, 1.0)

    rows = [row(peers.KERAS, "keras", 1.0), row("partsight cpu fp32", "recognizer", 0.4)]
    rows += [row("partsight openvino fp32", "recognizer", 0.5), row("native OpenVINO fp32", "openvino", 0.3)]
    lines = peers.goals(rows).splitlines()[2:]
    assert lines == [
        "| 16 | partsight cpu fp32 | Keras predict | 2.50 | 2.3 | yes |",
        "| 16 | partsight cpu fp32 | native OpenVINO fp32 | 0.75 | 1.0 | NO |",
    ]
    assert peers.goals(rows[1:3]) == ""
