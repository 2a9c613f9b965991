"""`partsight bench`: the command, its output and its files. No test asserts a time."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from partsight.cli.bench import trial
from partsight.cli.bench.facts import BenchFacts
from partsight.runtime.core import sha256_bytes
from partsight.runtime.package import Manifest, ModelFile
from tests.cli.bench.made_up import made_up
from tests.cli.command import HEAVY, loaded_by
from tests.cli.conftest import Ended
from tests.tiny import tiny_model, write_tiny_package

Call = Callable[..., Ended]
QUICK = ("--seconds", "0.4", "--batch", "2", "--provider", "cpu")


def test_the_output_and_the_files(call: Call, matching_package: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "bench"
    ended = call("bench", matching_package, *QUICK, "--frame-size", "64x48", "--out", out)
    assert (ended.code, ended.err) == (0, "")
    assert f"partsight run {matching_package} --camera folder:photos --provider cpu --precision fp32" in ended.out
    assert str(out / "bench.html") in ended.out.splitlines()[-1]
    assert sorted(path.name for path in out.iterdir()) == ["bench.html", "bench.json", "bench.md"]
    assert [path.name for path in out.parent.iterdir()] == ["bench"]
    facts = json.loads((out / "bench.json").read_text(encoding="utf-8"))
    headline = facts["verdict"]["headline"]
    assert f"<h1>{headline}</h1>" in (out / "bench.html").read_text(encoding="utf-8")
    assert (out / "bench.md").read_text(encoding="utf-8").startswith(f"**{headline}**")
    assert headline in ended.out
    assert facts["start"]["first_answer_s"] > 0


def test_the_facts_as_json(call: Call, matching_package: Path) -> None:
    arguments = ("--frame-size", "64x48", "--no-start", "--json", "--deadline-ms", "50")
    ended = call("bench", matching_package, *QUICK, *arguments)
    assert (ended.code, ended.err) == (0, "")
    facts = json.loads(ended.out)
    assert set(facts) == {field.name for field in dataclasses.fields(BenchFacts)} | {"verdict"}
    assert facts["schema_version"] == 4
    assert facts["baseline"] == {"provider": "cpu", "precision": "fp32"}
    assert facts["frames"] == {"source": "varied golden images", "different": 64, "width": 64, "height": 48}
    assert [(speed["precision"], speed["batch"]) for speed in facts["speeds"]] == [("fp32", 1), ("fp32", 2)]
    for speed in facts["speeds"]:
        assert set(speed) == {
            "provider", "precision", "batch", "frames_per_s", "network_frames_per_s", "slowest_frames_per_s", "cameras"
        }  # fmt: skip
        assert speed["cameras"] == speed["frames_per_s"] // 30
    assert facts["chosen"]["precision"] == "fp32"
    assert facts["pace"]["deadline_ms"] == 50
    assert "overdue" in facts["pace"]
    assert sum(facts["stages"].values()) == pytest.approx(1)
    assert set(facts["stages"]) == {"preprocessing", "network", "comparison"}
    assert facts["start"] is None
    assert facts["labels"] == []
    assert facts["queue"] is None or set(facts["queue"]) == {"apart_frames_per_s", "overlapped_frames_per_s"}
    assert facts["setting"]["parts"] == 6
    assert set(facts["verdict"]) == {"headline", "sentences", "warnings", "command", "code"}


def test_the_old_name_of_the_deadline_warns(
    call: Call, matching_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[trial.BenchOptions] = []

    def measure_package(path: str, options: trial.BenchOptions, *_: object) -> BenchFacts:
        seen.append(options)
        return made_up()

    monkeypatch.setattr(trial, "measure_package", measure_package)
    ended = call("bench", matching_package, "--late", "50", "--json")
    assert (ended.code, seen[0].deadline_ms) == (0, 50)
    (line,) = ended.err.splitlines()
    assert line.startswith("partsight: warning: --late ")
    assert "--deadline-ms" in line


@pytest.fixture
def wrong_int8(tmp_path: Path) -> Path:
    """A package whose int8 model takes each colour for the next one."""
    path = write_tiny_package(tmp_path / "wrong.partsight")
    model = onnx.load_from_string(tiny_model())
    (weights,) = [item for item in model.graph.initializer if item.name == "weights"]
    rolled = np.ascontiguousarray(np.roll(numpy_helper.to_array(weights), 1, axis=1))
    weights.CopyFrom(numpy_helper.from_array(rolled, "weights"))
    data = model.SerializeToString()
    (path / "model.int8.onnx").write_bytes(data)
    manifest = Manifest.from_json((path / "manifest.json").read_bytes(), "tiny")
    wrong = ModelFile(file="model.int8.onnx", sha256=sha256_bytes(data), opset=17, affine_left=0)
    changed = msgspec.structs.replace(manifest, models={**manifest.models, "int8": wrong})
    (path / "manifest.json").write_bytes(changed.to_json())
    return path


@pytest.mark.parametrize("precision", ["fp32,int8", "int8"])
def test_a_precision_with_other_labels(call: Call, wrong_int8: Path, photos: Path, precision: str) -> None:
    """All labels differ but the grey frame's, which is unknown to both. fp32 is the baseline even if not measured."""
    arguments = (*QUICK, "--frames", photos, "--no-start", "--precision", precision)
    ended = call("bench", wrong_int8, *arguments, "--json")
    assert ended.code == 0
    facts = json.loads(ended.out)
    (labels,) = facts["labels"]
    assert (labels["precision"], labels["frames"], labels["equal"], labels["share"]) == ("int8", 4, 1, 0.25)
    assert labels["max_score_drift"] > 0.5
    assert "cpu int8" in facts["verdict"]["warnings"][0]
    if precision == "int8":
        assert (facts["chosen"], facts["verdict"]["command"]) == (None, "")
    else:
        assert facts["chosen"]["precision"] == "fp32"
        assert "--precision fp32" in facts["verdict"]["command"]


def test_a_package_without_golden_images(call: Call, tiny_package: Path, photos: Path) -> None:
    ended = call("bench", tiny_package, *QUICK)
    assert (ended.code, ended.out) == (1, "")
    assert str(tiny_package) in ended.err
    assert "--frames FOLDER" in ended.err
    with_frames = call("bench", tiny_package, *QUICK, "--no-start", "--frames", photos, "--frame-size", "100x90")
    assert with_frames.code == 0
    assert re.search("4 .*100×90 px", with_frames.out)
    assert "\n  decision " in with_frames.out
    assert "\n  comparison " not in with_frames.out


def test_configurations_that_do_not_work_are_listed(call: Call, matching_package: Path) -> None:
    arguments = ("--seconds", "0.4", "--batch", "2", "--frame-size", "64x48", "--no-start")
    ended = call("bench", matching_package, *arguments, "--provider", "cpu,tensorrt", "--precision", "fp32,fp16,bf16")
    assert ended.code == 0
    for row in ("  cpu (fp16): ", "  cpu (bf16): ", "  tensorrt ("):
        assert row in ended.out


UNKNOWN = {
    "a provider": (("--provider", "cpu,gpu"), "'gpu'"),
    "a precision": (("--precision", "fp8"), "'fp8'"),
    "no configuration": (("--provider", "cpu", "--precision", "int8"), "cpu (int8)"),
    "no such folder": (("--frames", "no/such"), "no/such"),
}


@pytest.mark.parametrize(("arguments", "named"), UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_values(call: Call, matching_package: Path, arguments: tuple[str, ...], named: str) -> None:
    ended = call("bench", matching_package, "--seconds", "0.4", *arguments)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("partsight: error: ")
    assert named in ended.err
    assert len(ended.err.splitlines()) == 1


def test_an_image_that_cannot_be_read(call: Call, tiny_package: Path, photos: Path) -> None:
    (photos / "2_broken.png").write_bytes(b"not a picture")
    ended = call("bench", tiny_package, *QUICK, "--frames", photos)
    assert (ended.code, ended.out) == (1, "")
    assert str(photos / "2_broken.png") in ended.err


@pytest.mark.parametrize(
    "arguments",
    [("--frame-size", "1280"), ("--frame-size", "0x9"), ("--seconds", "0"), ("--batch", "0"), ("--provider", "cpu,")],
)
def test_wrong_usage(call: Call, matching_package: Path, arguments: tuple[str, ...]) -> None:
    ended = call("bench", matching_package, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert f"argument {arguments[0]}: " in ended.err
    assert f"'{arguments[1]}'" in ended.err


def test_an_existing_folder_is_refused_before_the_measurement(
    call: Call, matching_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "measure_package", lambda *_: pytest.fail("it was measured"))
    ended = call("bench", matching_package, "--out", tmp_path)
    assert ended.code == 1
    assert str(tmp_path) in ended.err


def test_an_interrupt_leaves_no_file(
    call: Call, matching_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def interrupted(path: Path, *arguments: Any, **options: Any) -> int:
        if path.name == "bench.html":
            raise KeyboardInterrupt
        return write(path, *arguments, **options)

    monkeypatch.setattr(trial, "measure_package", lambda *_: made_up())
    monkeypatch.setattr(Path, "write_text", interrupted)
    ended = call("bench", matching_package, "--out", tmp_path / "bench")
    assert (ended.code, ended.err) == (130, "partsight: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_help_loads_no_library(call: Call) -> None:
    ended = call("bench", "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "--deadline-ms" in ended.out
    assert "--late" not in ended.out
    assert loaded_by("bench", "--help").isdisjoint(
        {*HEAVY, "cv2", "jinja2", "msgspec", "numpy", "onnxruntime", "partsight.runtime"}
    )


def test_it_needs_no_training_library(matching_package: Path) -> None:
    loaded = loaded_by("bench", matching_package, *QUICK, "--frame-size", "64x48", "--no-start")
    assert "partsight.cli.bench.trial" in loaded
    assert loaded.isdisjoint(HEAVY)
