"""The speed benchmarks, small: each runs, and writes what it found. Nothing is said about time: machines are shared."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.conftest import Load
from tests.tiny import write_tiny_package

Results = dict[str, Any]


@pytest.fixture
def run(load: Load, example_parts: Path, tmp_path: Path) -> Callable[..., Results]:
    """Runs a script on a few example frames and returns what it wrote."""

    def run(name: str, *options: str, frames: bool = True) -> Results:
        few = ["--frames", "4"] if frames else []
        load(name).main([*options, "--data", str(example_parts), "--out", str(tmp_path), *few])
        assert (tmp_path / f"{name}.png").stat().st_size > 5_000
        assert "| --- |" in (tmp_path / f"{name}.md").read_text("utf-8")
        written: dict[str, Any] = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
        assert written["machine"]["partsight"]
        results: Results = written["results"]
        return results

    return run


FEW = ("--frame-size", "320x240", "--rounds", "1")


def test_throughput(run: Callable[..., Results], verified_package: Path) -> None:
    options = ("--provider", "cpu", "--batch", "1", "3", "--batch-size", "2", "--turn", "0", "--as-taken")
    results = run("throughput", str(verified_package), *FEW, *options)
    assert [(row["frame"], row["batch"]) for row in results["rows"]] == [
        ("320×240", 1), ("320×240", 3), ("as taken", 1), ("as taken", 3),
    ]  # fmt: skip
    assert all(row["way"] == "cpu fp32" and row["compared_ms"] > 0 for row in results["rows"])
    assert list(results["left_out"]) == ["cpu fp16", "cpu int8"]  # the package has none


def test_peers(run: Callable[..., Results], tiny_package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = ("Keras predict", "naive", "partsight cpu fp32", "raw session cpu fp32")
    results = run("peers", str(tiny_package), *FEW, "--batch", "2", "--turn", "0", "--only", *only)
    names = [row["name"] for row in results["rows"]]
    assert names == ["naive ONNX Runtime fp32", "partsight cpu fp32", "raw session cpu fp32"]
    assert all(row["labels_equal"] == 1.0 for row in results["rows"])
    assert "--run" in results["left_out"]["Keras predict"]
    assert "Left out: Keras predict" in capsys.readouterr().out


def test_a_competitor_whose_library_is_missing_is_left_out(
    run: Callable[..., Results], tiny_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('none here')\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of the competitors alone
    with pytest.raises(SystemExit, match=r"naive ONNX Runtime fp32 .ImportError: none here"):
        run("peers", str(tiny_package), *FEW, "--batch", "1", "--only", "naive")


def test_networks_that_differ_are_not_compared(load: Load, tiny_package: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"weights_sha256": "of another run"}', "utf-8")
    with pytest.raises(SystemExit, match="their weights differ"):
        load("peers").main([str(tiny_package), "--run", str(tmp_path)])


def test_goals_are_judged(load: Load) -> None:
    peers = load("peers")

    def row(name: str, kind: str, seconds: float) -> Any:
        return peers.Row(16, name, kind, [seconds] * 3, 1.0, 1.0, 1.0)

    rows = [row(peers.KERAS, "keras", 1.0), row("partsight cpu fp32", "recognizer", 0.4)]
    rows += [row("partsight openvino fp32", "recognizer", 0.5), row("native OpenVINO fp32", "openvino", 0.3)]
    lines = peers.goals(rows).splitlines()[2:]
    assert lines == [
        "| 16 | partsight cpu fp32 | Keras predict | 2.50 | 2.3 | yes |",
        "| 16 | partsight cpu fp32 | native OpenVINO fp32 | 0.75 | 1.0 | NO |",
    ]
    assert peers.goals(rows[1:3]) == ""


def test_gpu_runs_without_one(
    run: Callable[..., Results], tiny_package: Path, example_parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    results = run("gpu", str(tiny_package), *FEW, "--provider", "cpu", "--batch", "1", "2", "--turn", "0")
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
    run: Callable[..., Results], verified_package: Path, example_parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    results = run("gpu", str(verified_package), *FEW, "--provider", "cpu", "--batch", "1", "2", "--turn", "0")
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


def test_stages(load: Load, verified_package: Path, example_parts: Path, tmp_path: Path) -> None:
    options = (str(verified_package), "--data", str(example_parts), "--out", str(tmp_path), "--batch", "2")
    load("stages").main([*options, "--frames", "8"])
    results = json.loads((tmp_path / "stages.json").read_text("utf-8"))["results"]
    assert results["frames"] == 8
    assert set(results["stages"]) == {
        f"{name}_ms of {size}" for size in (1, 2) for name in ("prepare", "network", "compare")
    }
    assert "16 candidates by thumbnail, 4 by the network, 4 finalists" in (tmp_path / "stages.md").read_text("utf-8")
    with pytest.raises(SystemExit, match="3 frames; expected at least two batches of 2"):
        load("stages").main([*options, "--frames", "3"])


def test_gpu_says_that_there_is_none(load: Load, tiny_package: Path, example_parts: Path) -> None:
    if "CUDAExecutionProvider" in pytest.importorskip("onnxruntime").get_available_providers():
        pytest.skip("there may be one")
    with pytest.raises(SystemExit, match=r"provider 'cuda' was asked for"):
        load("gpu").main([str(tiny_package), "--data", str(example_parts), "--frames", "1"])


def test_gpu_wants_the_scores_from_the_network(load: Load, tmp_path: Path, example_parts: Path) -> None:
    package = write_tiny_package(tmp_path / "searched.partsight", is_searched=True)
    with pytest.raises(SystemExit, match="export it with --search never"):
        load("gpu").main([str(package), "--data", str(example_parts), "--provider", "cpu"])


def test_fp16_comes_before_cuda_graphs_which_record_it(load: Load) -> None:
    steps = list(load("_gpu_steps").all_steps({"fp32", "fp16"}))
    assert [(step.name, step.arithmetic, step.gpu.cuda_graphs) for step in steps[-2:]] == [
        ("+ FP16", "fp16", False),
        ("+ CUDA graphs", "fp16", True),
    ]


def test_labels_are_those_of_the_frames_whatever_the_batch(load: Load) -> None:
    frames = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    sizes: list[int] = []

    def answer(batch: np.ndarray) -> np.ndarray:
        sizes.append(len(batch))
        return batch.ravel()

    assert load("_gpu_steps").labels(answer, frames, 2).tolist() == [0, 1, 2, 3, 4]
    assert sizes == [2, 2, 2]


def test_latency(run: Callable[..., Results], verified_package: Path) -> None:
    options = ("--frame-size", "320x240", "--seconds", "0.2", "--load", "0.2", "0.5", "--arrivals", "poisson")
    results = run("latency", str(verified_package), *options)
    assert [load["share"] for load in results["loads"]] == [0.2, 0.5]
    assert all(load["p50_ms"] <= load["p99_ms"] <= load["most_ms"] for load in results["loads"])


def test_latency_counts_the_wait_for_the_frame_before(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    latency = load("latency")
    moments = np.array([0.0, 0.001, 0.002])
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def perf_counter() -> float:
        sleep(1e-6)
        return now[0]

    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=perf_counter, sleep=sleep))
    trace = latency.play(lambda _: sleep(0.03), moments, lambda: None)
    assert (trace.end - trace.arrival)[2] == pytest.approx(0.088, abs=1e-4)  # two calls before it, and its own
    assert np.diff(trace.start) == pytest.approx([0.03, 0.03], abs=1e-4)


def test_preprocess(run: Callable[..., Results], tiny_package: Path) -> None:
    options = ("--frame-size", "64x64", "1280x1024", "--side", "32", "--rounds", "1", "--package", str(tiny_package))
    results = run("preprocess", *options)
    ours = {row["frame"]: row for row in results["rows"] if row["name"] == "partsight"}
    assert ours["1280×1024"]["mean_levels"] < 2 and ours["1280×1024"]["most_levels"] < 40
    assert len(results["rows"]) == 2 * 5
    assert [found["frames"] for found in results["agreement"]] == [4, 4]


def test_startup(run: Callable[..., Results], tiny_package: Path) -> None:
    results = run("startup", str(tiny_package), *FEW, "--batch", "2", "--provider", "cpu", frames=False)
    assert [row["name"] for row in results["rows"]] == [
        "plain ONNX Runtime fp32", "cpu fp32, network alone", "cpu fp32, golden images",
    ]  # fmt: skip
    assert not any(found["tensorflow"] for found in results["import"])
    if sys.platform == "linux":
        assert all(row["peak_batches_mb"] >= row["peak_mb"] > row["resident_mb"] / 2 for row in results["rows"])


def test_scaling(run: Callable[..., Results], verified_package: Path) -> None:
    options = ("--classes", "--no-cores", "--camera-turn", "0.1", "--rounds", "1")
    results = run("scaling", str(verified_package), *options)
    assert [row["cameras"] for row in results["cameras"]] == [1, 2, 4, 8, 16]
    assert all(row["p50_ms"] <= row["p99_ms"] for row in results["cameras"])
