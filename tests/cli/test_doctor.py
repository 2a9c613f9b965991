"""`partsight doctor`: the abilities of this machine, and the commands that add missing ones."""

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from partsight.cli import probe
from partsight.cli.doctor import print_facts
from partsight.cli.machine import (
    LIBRARIES,
    PAGE_LIBRARIES,
    TRAIN_LIBRARIES,
    Cpu,
    CpuFeature,
    features_of_linux,
    features_of_opencv,
    find_clashes,
    find_jobs,
    gather,
    linux_cpuinfo,
)
from partsight.cli.probe import SIDE_PX, check_providers, probe_model, run_probe
from partsight.runtime.inference import PROVIDERS, Inference, Session
from tests.cli.command import HEAVY, loaded_by, partsight, without
from tests.cli.conftest import Ended

Call = Callable[..., Ended]
has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def pretend(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Another set of installed libraries; names with `_` for `-`."""
    real, other = importlib.metadata.version, {name.replace("_", "-"): version for name, version in versions.items()}

    def version(name: str) -> str:
        found = other[name] if name in other else real(name)
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)


@pytest.fixture
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """No clashes, whatever is installed where the tests run."""
    pretend(monkeypatch, **{name.replace("-", "_"): None for name in LIBRARIES if name.startswith(("onnxr", "opencv"))})
    pretend(monkeypatch, onnxruntime="1.30.0", opencv_python_headless="4.12.0")


def test_a_machine_that_is_well(call: Call, well: None) -> None:
    ended = call("doctor")
    assert (ended.code, ended.err) == (0, "")
    rows = [line.split(maxsplit=1) for line in ended.out.splitlines() if line]
    assert ["onnxruntime", "1.30.0"] in rows
    assert ["cpu", "usable"] in rows
    assert "onnxruntime-gpu" not in [row[0] for row in rows]
    assert "\nclashes\n  none\n" in ended.out
    assert "CANNOT" not in ended.out


def test_json(call: Call, well: None) -> None:
    ended = call("doctor", "--json")
    assert (ended.code, ended.err) == (0, "")
    facts = json.loads(ended.out)
    assert facts["is_well"] is True
    assert facts["libraries"]["numpy"] == np.__version__
    assert set(facts["libraries"]) == set(LIBRARIES)
    assert [item["name"] for item in facts["providers"]] == list(PROVIDERS)
    assert facts["providers"][0] == {"name": "cpu", "usable": True, "reason": "", "fix": ""}
    assert facts["cpu"]["cores"] == os.cpu_count()
    assert 1 <= facts["cpu"]["usable_cores"] <= facts["cpu"]["cores"]
    assert [job["name"] for job in facts["jobs"]] == list(JOBS)


def test_json_and_text_agree_on_a_machine_that_is_not_well(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, onnxruntime="1.30.0", onnxruntime_gpu="1.30.0")
    text, data = call("doctor"), call("doctor", "--json")
    assert (text.code, data.code) == (1, 1)
    assert "CANNOT" in text.out
    assert json.loads(data.out)["is_well"] is False
    assert json.loads(data.out)["clashes"][0]["distributions"] == ["onnxruntime", "onnxruntime-gpu"]


def test_clashes() -> None:
    (clash,) = find_clashes(["numpy", "onnxruntime", "onnxruntime-gpu", "opencv-python-headless"])
    assert clash.distributions == ("onnxruntime", "onnxruntime-gpu")
    assert clash.fix[0] == "pip uninstall --yes onnxruntime onnxruntime-gpu"
    assert "partsight[cpu]" in clash.fix[1]
    (clash,) = find_clashes(["opencv-python", "opencv-python-headless", "opencv-contrib-python"])
    assert clash.fix[1].endswith("opencv-python-headless")
    assert len(find_clashes(["onnxruntime", "onnxruntime-directml", "opencv-python", "opencv-python-headless"])) == 2
    assert find_clashes(["onnxruntime-gpu", "opencv-python-headless", "onnx"]) == ()
    assert find_clashes([]) == ()


def test_an_installed_clash(tmp_path: Path) -> None:
    """pip does not notice it."""
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / f"{name}-1.20.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.20.0\n")
    done = partsight("doctor", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "onnxruntime and onnxruntime-gpu" in done.stdout
    assert "\n    pip uninstall --yes onnxruntime onnxruntime-gpu\n" in done.stdout


JOBS = {
    "run on the line": "cpu",
    "serve the page": "page",
    "use a server, write for Triton": "triton",
    "serve and batch with Ray": "ray",
    "enroll": "enroll",
    "train and export": "train",
}
"""Jobs, and the extra that each needs."""


def test_jobs() -> None:
    installed = ["onnxruntime-gpu", "ray", "tritonclient", *TRAIN_LIBRARIES, *PAGE_LIBRARIES]
    assert {(job.name, job.missing, job.fix) for job in find_jobs(installed)} == {(name, (), "") for name in JOBS}
    jobs = {job.name: job for job in find_jobs(["numpy", "tritonclient", "uvicorn"])}
    assert {name: job.missing for name, job in jobs.items()} == {
        "run on the line": ("onnxruntime",),
        "serve the page": ("argon2-cffi", "starlette"),
        "use a server, write for Triton": (),
        "serve and batch with Ray": ("ray",),
        "enroll": ("onnx",),
        "train and export": TRAIN_LIBRARIES,
    }
    assert all(f"'partsight[{JOBS[name]}]'" in job.fix for name, job in jobs.items() if job.missing)


def test_a_line_that_cannot_train_is_well(call: Call, well: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, tensorflow=None, tf2onnx=None)
    ended = call("doctor")
    assert ended.code == 0
    assert "missing: tensorflow, tf2onnx\n" in ended.out
    assert "pip install 'partsight[train]'\n" in ended.out


def test_the_model_of_the_probe() -> None:
    model = onnx.load_from_string(probe_model())
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == [
        *("Cast", "Transpose", "Conv", "GlobalAveragePool", "Flatten", "MatMul"),
    ]
    session = Session(probe_model())
    assert session.input_hw == (SIDE_PX, SIDE_PX)
    score = session.run(np.full((1, SIDE_PX, SIDE_PX, 3), 4, np.uint8)).score
    assert score.tolist() == [[12, 12]]


def test_each_provider_runs_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    run = Session.run

    def watched(session: Session, batch: np.ndarray) -> Inference:
        tried.append(session.provider.name)
        return run(session, batch)

    monkeypatch.setattr(Session, "run", watched)
    usable = [check.name for check in check_providers() if check.usable]
    assert "cpu" in usable
    assert tried == usable
    assert run_probe("cpu") == ""


@pytest.mark.skipif(has_cuda, reason="this ONNX Runtime was built with CUDA")
def test_cuda_on_a_machine_without_it(call: Call, well: None) -> None:
    ended = call("doctor")
    assert ended.code == 0
    after = ended.out.partition("  cuda ")[2].splitlines()
    assert after[0].lstrip().startswith("not usable: ")
    assert "pip " not in after[0]
    assert "pip uninstall onnxruntime onnxruntime-gpu, then pip install" in after[1]


def test_a_provider_that_answers_wrongly(call: Call, well: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(session: Session, batch: np.ndarray) -> Inference:
        return Inference(np.full((2, 2), 29, np.float32), np.ones((2, 2), np.float32))

    monkeypatch.setattr(Session, "run", wrong)
    ended = call("doctor")
    assert ended.code == 1
    assert "[[29.0, 29.0], [29.0, 29.0]]" in ended.out
    assert "[[30.0, 30.0], [30.0, 30.0]]" in ended.out


def test_a_provider_that_breaks(well: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """doctor shows any error of a driver, and the other facts too."""

    def broken(provider: str) -> str:
        raise OSError(f"libcudart of {provider} cannot be opened")

    monkeypatch.setattr(probe, "run_probe", broken)
    facts = gather()
    assert not facts.is_well
    assert [check.reason for check in facts.providers] == [
        f"libcudart of {name} cannot be opened" for name in PROVIDERS
    ]
    assert [check.fix for check in facts.providers] == [provider.install for provider in PROVIDERS.values()]


def test_features_of_a_processor(capsys: pytest.CaptureFixture[str]) -> None:
    facts = gather()
    features = (CpuFeature("AVX2", True, "fast"), CpuFeature("AMX", False, "fastest"), CpuFeature("X", None, "odd"))
    print_facts(dataclasses.replace(facts, cpu=Cpu("a processor", 8, 4, features)))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["processor:", "a", "processor"] in rows
    assert ["AVX2", "yes", "fast"] in rows
    assert ["AMX", "no", "fastest"] in rows
    assert ["X", "not", "visible", "odd"] in rows
    assert facts.cpu.name
    assert all(isinstance(feature.present, bool | None) for feature in facts.cpu.features)


def test_linux_and_opencv_agree() -> None:
    """OpenCV knows fewer instruction sets, but gives no other answer."""
    flags = linux_cpuinfo().get("flags", "").split()
    if not flags:
        pytest.skip("needs /proc/cpuinfo with flags")
    both = zip(features_of_linux(flags), features_of_opencv(), strict=True)
    assert all(second.present in (first.present, None) for first, second in both)


@pytest.mark.parametrize("module", ["onnxruntime", "msgspec", "numpy", "cv2"])
def test_it_starts_if_a_library_is_broken(module: str) -> None:
    done = without(module, "doctor")
    runs = module == "onnxruntime" and importlib.util.find_spec("openvino") is not None  # OpenVINO runs the line too
    assert done.returncode == (0 if runs else 1)
    assert "Traceback" not in done.stderr
    assert module in done.stdout.partition("execution providers")[2]
    assert ("CANNOT" in done.stdout) != runs


def test_no_tensorflow_is_loaded() -> None:
    loaded = loaded_by("doctor")
    assert "onnxruntime" in loaded
    assert loaded.isdisjoint(HEAVY)
