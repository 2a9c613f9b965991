import sys
from pathlib import Path

import pytest

from benchmarks.speed import gpu
from tests.benchmarks.speed.conftest import FEW, RunSpeed
from tests.tiny import write_tiny_package


def test_gpu_runs_without_one(
    run_speed: RunSpeed, tiny_package: Path, example_parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    results = run_speed("gpu", str(tiny_package), *FEW, "--provider", "cpu", "--batch", "1", "2", "--turn", "0")
    names = [row["name"] for row in results["rows"] if row["batch"] == 2]
    assert names[1:8] == [
        "uint8 frames", "+ IO binding", "+ cuDNN's search", "+ channels last", "+ TF32", "+ CUDA graphs",
        "limit: the card alone, nothing copied",
    ]  # fmt: skip
    assert set(results["left_out"]) == {"PyTorch", "PyTorch, compiled"}
    assert results["facts"]["labels"] == {"FP32": 1.0, "FP32 with TF32": 1.0}
    assert results["facts"]["images"] == len(list((example_parts / "golden").iterdir()))
    assert list(results["facts"]["nodes"]) == ["CPUExecutionProvider"]
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in results["rows"])


def test_gpu_runs_both_stages(
    run_speed: RunSpeed, matching_package: Path, example_parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    results = run_speed("gpu", str(matching_package), *FEW, "--provider", "cpu", "--batch", "1", "2", "--turn", "0")
    camera = ["camera's frames, batch after batch", "camera's frames, overlapped"]
    both = [*camera, "the bundle in plain ONNX Runtime, prepared frames"]
    for batch in (1, 2):
        names = [row["name"] for row in results["rows"] if row["batch"] == batch]
        assert names[-5:] == camera + [f"both stages: {name}" for name in both]
    assert set(results["left_out"]) == {"PyTorch", "PyTorch, compiled"}
    assert set(results["facts"]["matching"]) == {"partsight", "the bundle"}
    for found in results["facts"]["matching"].values():
        assert 200 <= found["frames"] <= 300
        assert found["same"] == 1
        assert found["max_difference"] < 1e-3
    nodes, of_bundle = results["facts"]["nodes"], results["facts"]["bundle_nodes"]
    assert list(of_bundle) == list(nodes) == ["CPUExecutionProvider"]
    assert sum(of_bundle.values()) > 2 * sum(nodes.values())


def test_gpu_without_a_card(tiny_package: Path, example_parts: Path) -> None:
    if "CUDAExecutionProvider" in pytest.importorskip("onnxruntime").get_available_providers():
        pytest.skip("there may be one")
    with pytest.raises(SystemExit, match="cuda"):
        gpu.main([str(tiny_package), "--data", str(example_parts), "--frames", "1"])


def test_gpu_wants_the_scores_from_the_network(tmp_path: Path, example_parts: Path) -> None:
    package = write_tiny_package(tmp_path / "searched.partsight", is_searched=True)
    with pytest.raises(SystemExit, match="--search never"):
        gpu.main([str(package), "--data", str(example_parts), "--provider", "cpu"])
