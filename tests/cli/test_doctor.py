"""`partsight doctor`: what this machine can do, and which command mends the rest."""

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from partsight.cli import machine, probe
from partsight.cli.doctor import print_facts
from partsight.cli.machine import LIBRARIES, TRAIN_LIBRARIES, CpuFeature, find_clashes, find_jobs, gather
from partsight.cli.probe import SIDE_PX, check_providers, probe_model, run_probe
from partsight.runtime.inference.providers import PROVIDERS
from partsight.runtime.inference.session import Inference, Session
from tests.cli.command import HEAVY, loaded_by, partsight, without
from tests.cli.conftest import Ended

Call = Callable[..., Ended]
has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def pretend(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Another set of installed libraries; names with `_` for `-`."""
    real, other = machine._version, {name.replace("_", "-"): version for name, version in versions.items()}
    monkeypatch.setattr(machine, "_version", lambda name: other[name] if name in other else real(name))


@pytest.fixture
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that clashes, whatever is installed where the tests run."""
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
    assert ended.out.endswith("this machine can run partsight\n")


def test_json(call: Call, well: None) -> None:
    ended = call("doctor", "--json")
    assert (ended.code, ended.err) == (0, "")
    facts = json.loads(ended.out)
    assert facts["is_well"] is True
    assert facts["libraries"]["numpy"] == np.__version__
    assert set(facts["libraries"]) == set(LIBRARIES)
    assert [item["name"] for item in facts["providers"]] == list(PROVIDERS)
    assert facts["providers"][0] == {"name": "cpu", "usable": True, "reason": "", "mend": ""}
    assert facts["cpu"]["cores"] == os.cpu_count()
    assert 1 <= facts["cpu"]["usable_cores"] <= facts["cpu"]["cores"]
    assert [job["name"] for job in facts["jobs"]] == ["run on the line", "enroll", "train and export"]


def test_json_and_text_agree_on_a_machine_that_is_not_well(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, onnxruntime="1.30.0", onnxruntime_gpu="1.30.0")
    text, data = call("doctor"), call("doctor", "--json")
    assert (text.code, data.code) == (1, 1)
    assert "this machine CANNOT run partsight yet" in text.out
    assert json.loads(data.out)["is_well"] is False
    assert json.loads(data.out)["clashes"][0]["distributions"] == ["onnxruntime", "onnxruntime-gpu"]


def test_clashes() -> None:
    (clash,) = find_clashes(["numpy", "onnxruntime", "onnxruntime-gpu", "opencv-python-headless"])
    assert clash.distributions == ("onnxruntime", "onnxruntime-gpu")
    assert clash.mend[0] == "pip uninstall --yes onnxruntime onnxruntime-gpu"
    assert "partsight[cpu]" in clash.mend[1]
    (clash,) = find_clashes(["opencv-python", "opencv-python-headless", "opencv-contrib-python"])
    assert clash.mend[1].endswith("opencv-python-headless")
    assert len(find_clashes(["onnxruntime", "onnxruntime-directml", "opencv-python", "opencv-python-headless"])) == 2
    assert find_clashes(["onnxruntime-gpu", "opencv-python-headless", "onnx"]) == ()
    assert find_clashes([]) == ()


def test_a_clash_that_is_really_installed(tmp_path: Path) -> None:
    """pip would not say a word about it."""
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / f"{name}-1.20.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.20.0\n")
    done = partsight("doctor", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "onnxruntime and onnxruntime-gpu overwrite each other's files; mend it with:\n" in done.stdout
    assert "\n    pip uninstall --yes onnxruntime onnxruntime-gpu\n" in done.stdout


def test_jobs() -> None:
    line, enrolling, training = find_jobs(["onnxruntime-gpu", *TRAIN_LIBRARIES])
    assert (line.missing, line.mend, training.missing, training.mend) == ((), "", (), "")
    assert (enrolling.missing, enrolling.mend) == ((), "")
    (_, enrolling, _) = find_jobs(["onnxruntime"])
    assert (enrolling.missing, enrolling.mend) == (("onnx",), "pip install 'partsight[enroll]'")
    line, _, training = find_jobs(["numpy", "jinja2", "onnx"])
    assert line.missing == ("onnxruntime",)
    assert line.mend.startswith("pip install 'partsight[cpu]'")
    assert training.missing == ("matplotlib", "tensorflow", "tf2onnx")
    assert training.mend == "pip install 'partsight[train]'"


def test_a_line_that_cannot_train_is_well(call: Call, well: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, tensorflow=None, tf2onnx=None)
    ended = call("doctor")
    assert ended.code == 0
    assert "missing: tensorflow, tf2onnx\n" in ended.out
    assert "install it with: pip install 'partsight[train]'\n" in ended.out


def test_the_probe_is_what_its_comment_says() -> None:
    model = onnx.load_from_string(probe_model())
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == [
        *("Cast", "Transpose", "Conv", "GlobalAveragePool", "Flatten", "MatMul"),
    ]
    session = Session(probe_model())
    assert session.input_hw == (SIDE_PX, SIDE_PX)
    score = session.run(np.full((1, SIDE_PX, SIDE_PX, 3), 4, np.uint8)).score
    assert score.tolist() == [[12, 12]]


def test_each_provider_is_really_tried(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_cuda_where_there_is_none(call: Call, well: None) -> None:
    ended = call("doctor")
    assert ended.code == 0
    after = ended.out.partition("  cuda ")[2].splitlines()
    assert after[0].lstrip().startswith("not usable: provider 'cuda' was asked for, but the installed ONNX Runtime")
    assert "mend it" not in after[0]
    assert after[1].lstrip().startswith("mend it with: pip uninstall onnxruntime onnxruntime-gpu, then pip install")


def test_a_provider_that_answers_wrongly(call: Call, well: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(session: Session, batch: np.ndarray) -> Inference:
        return Inference(np.full((2, 2), 29, np.float32), np.ones((2, 2), np.float32))

    monkeypatch.setattr(Session, "run", wrong)
    ended = call("doctor")
    assert ended.code == 1
    assert (
        "not usable: it answers [[29.0, 29.0], [29.0, 29.0]] where [[30.0, 30.0], [30.0, 30.0]] is right" in ended.out
    )


def test_a_provider_that_breaks(well: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a driver raises is told, and the other facts, too."""

    def broken(provider: str) -> str:
        raise OSError(f"libcudart of {provider} cannot be opened")

    monkeypatch.setattr(probe, "run_probe", broken)
    facts = gather()
    assert not facts.is_well
    assert [check.reason for check in facts.providers] == [
        f"libcudart of {name} cannot be opened" for name in PROVIDERS
    ]
    assert [check.mend for check in facts.providers] == [provider.install for provider in PROVIDERS.values()]


def test_features_of_a_processor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = machine._cpu()
    features = (CpuFeature("AVX2", True, "fast"), CpuFeature("AMX", False, "fastest"), CpuFeature("X", None, "odd"))
    monkeypatch.setattr(machine, "_cpu", lambda: machine.Cpu("a processor", 8, 4, features))
    print_facts(gather())
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["processor:", "a", "processor"] in rows
    assert ["AVX2", "yes", "fast"] in rows
    assert ["AMX", "no", "fastest"] in rows
    assert ["X", "not", "visible", "odd"] in rows
    assert cpu.name
    assert all(isinstance(feature.present, bool | None) for feature in cpu.features)


def test_linux_and_opencv_agree() -> None:
    """Both are asked for what the processor has; they differ at most in what they cannot see."""
    flags = machine._linux_cpuinfo().get("flags", "").split()
    if not flags:
        pytest.skip("needs /proc/cpuinfo with flags")
    both = zip(machine._features_of_linux(flags), machine._features_of_opencv(), strict=True)
    assert all(second.present in (first.present, None) for first, second in both)


@pytest.mark.parametrize("module", ["onnxruntime", "msgspec", "numpy", "cv2"])
def test_it_starts_where_a_library_is_broken(module: str) -> None:
    done = without(module, "doctor")
    runs = module == "onnxruntime" and importlib.util.find_spec("openvino") is not None  # by OpenVINO all the same
    assert done.returncode == (0 if runs else 1)
    assert "Traceback" not in done.stderr
    assert module in done.stdout.partition("execution providers")[2]
    assert ("this machine CANNOT run partsight yet" in done.stdout) != runs


def test_no_tensorflow_is_loaded() -> None:
    loaded = loaded_by("doctor")
    assert "onnxruntime" in loaded
    assert loaded.isdisjoint(HEAVY)
