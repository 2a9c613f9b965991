"""`partsight bundle`: a package as one ONNX file."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.cli.command import loaded_by, without
from tests.cli.conftest import Ended
from tests.runtime.enrolment.enrolling import write_package
from tests.tiny import AGREEMENT_THRESHOLD, COLOURS_BGR, SIDE_PX, solid

Call = Callable[..., Ended]


def session(file: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def test_a_bundle(call: Call, matching_package: Path, tmp_path: Path) -> None:
    out = tmp_path / "line.onnx"
    ended = call("bundle", matching_package, "--out", out)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        f"bundle: {out} ({out.stat().st_size / 1e6:.1f} MB)",
        f"input:  image_bgr uint8 (batch, {SIDE_PX}, {SIDE_PX}, 3)",
        f"parts:  {len(COLOURS_BGR)}; threshold {AGREEMENT_THRESHOLD:.4f}",
    ]
    frames = np.stack([solid(colour, SIDE_PX, SIDE_PX) for colour in [*COLOURS_BGR, (128, 128, 128)]])
    index, accepted, reason = session(out).run(["label_index", "accepted", "reason"], {"image_bgr": frames})
    reasons = json.loads(session(out).get_modelmeta().custom_metadata_map["partsight.bundle"])["reasons"]
    assert [reasons[value] for value in reason] == ["recognised"] * len(COLOURS_BGR) + ["agrees_with_none"]
    assert index[:-1].tolist() == list(range(len(COLOURS_BGR)))
    assert accepted.tolist() == [True] * len(COLOURS_BGR) + [False]


def test_a_fixed_batch(call: Call, matching_package: Path, tmp_path: Path) -> None:
    out = tmp_path / "line.onnx"
    ended = call("bundle", matching_package, "--out", out, "--batch", 3, "--precision", "fp32")
    assert ended.code == 0
    assert f"(3, {SIDE_PX}, {SIDE_PX}, 3)" in ended.out
    assert session(out).get_inputs()[0].shape == [3, SIDE_PX, SIDE_PX, 3]
    facts = json.loads(session(out).get_modelmeta().custom_metadata_map["partsight.bundle"])
    assert facts["labels"] == list(COLOURS_BGR)


def test_nothing_is_overwritten(call: Call, matching_package: Path, tmp_path: Path) -> None:
    out = tmp_path / "line.onnx"
    out.write_text("mine")
    ended = call("bundle", matching_package, "--out", out)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"partsight: error: {out}: ")
    assert out.read_text() == "mine"


@pytest.mark.parametrize(("precision", "named"), [("int8", "int8"), ("fp32", "tiny.partsight")])
def test_errors_end_with_1_and_write_nothing(
    call: Call, precision: str, named: str, matching_package: Path, tiny_package: Path, tmp_path: Path
) -> None:
    package = matching_package if precision == "int8" else tiny_package
    ended = call("bundle", package, "--out", tmp_path / "line.onnx", "--precision", precision)
    assert (ended.code, ended.out) == (1, "")
    assert named in ended.err
    assert len(ended.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_searches_for_its_scores(call: Call, tmp_path: Path) -> None:
    package = write_package(tmp_path / "many.partsight", is_searched=True)
    ended = call("bundle", package, "--out", tmp_path / "line.onnx")
    assert (ended.code, ended.out) == (1, "")
    assert "--search never" in ended.err


def test_the_help_names_the_page(call: Call) -> None:
    ended = call("bundle", "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "docs/bundle.md" in ended.out
    assert "pip install 'partsight[enroll]'" in ended.out


def test_without_onnx_it_names_the_command_that_installs_it(matching_package: Path, tmp_path: Path) -> None:
    done = without("onnx", "bundle", matching_package, "--out", tmp_path / "line.onnx")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'partsight[enroll]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_needs_no_tensorflow(matching_package: Path, tmp_path: Path) -> None:
    loaded = loaded_by("bundle", matching_package, "--out", tmp_path / "line.onnx")
    assert "partsight.export.bundle" in loaded
    assert not loaded & {"tensorflow", "keras", "tf2onnx", "matplotlib", "partsight.train"}
    assert (tmp_path / "line.onnx").exists()


def test_help_loads_nothing_heavy() -> None:
    assert loaded_by("bundle", "--help").isdisjoint({"onnx", "numpy", "cv2", "onnxruntime", "partsight.runtime"})
