"""`partsight inspect`: the content of a package, and the check of its files."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from partsight.runtime import ModelPackage
from partsight.runtime.images import PreprocessSpec, Region
from partsight.runtime.matching import BANK_FILE
from partsight.runtime.package import Gate, Manifest
from tests.cli.conftest import Ended
from tests.runtime.enrolment.enrolling import write_version_1_package
from tests.tiny import COLOURS_BGR, SIDE_PX, add_further, solid, write_tiny_package

Call = Callable[..., Ended]


@pytest.fixture
def copied(tiny_package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_package, tmp_path / "copied.partsight"))


def test_the_text(call: Call, tiny_package: Path) -> None:
    ended = call("inspect", tiny_package)
    assert (ended.code, ended.err) == (0, "")
    package = ModelPackage.read(tiny_package)
    fields = dict(re.findall(r"^ *([a-z ]+?)  +(.+)$", ended.out, re.MULTILINE))
    assert fields["package"] == str(tiny_package)
    assert fields["id"] == package.package_id
    assert fields["parts"].startswith("6: blue, cyan, ")
    for datum in (f"{SIDE_PX}×{SIDE_PX} px ", "BGR", "sampled-area"):
        assert datum in fields["input"]
    assert fields["region"] == "the whole frame"
    assert fields["threshold"].startswith("0.9;")
    assert fields["parity"].startswith("6 of 6 images")
    assert "model.fp32.onnx" in fields["file"]
    assert "opset 17" in fields["file"]
    assert fields["backbone"] == "mean-colour, weights none"
    assert package.manifest.provenance.weights_sha256 in fields["weights"]
    assert fields["verified"].startswith(f"{len(package.hashes())} files")


def test_another_package(call: Call, tmp_path: Path) -> None:
    spec = PreprocessSpec(height=SIDE_PX, width=SIDE_PX, color="mono", region=Region(10, 20, 300, 200), via=(40, 60))
    ended = call("inspect", write_tiny_package(tmp_path / "mono.partsight", preprocess=spec))
    assert ended.code == 0
    for datum in (" grey, ", " sampled-area ", " 60×40 px\n", " 300×200 px ", "(10, 20)"):
        assert datum in ended.out


def test_how_frames_are_matched(call: Call, matching_package: Path) -> None:
    size_mb = (matching_package / BANK_FILE).stat().st_size / 1e6
    ended = call("inspect", matching_package)
    data = f"{SIDE_PX}×{SIDE_PX} px, .*{size_mb:.3g} MB;"
    assert re.search(rf"^matching +6 .*\b6 .*{data} .*16 .*\b4 .*\b4 ", ended.out, re.MULTILINE)


def test_more_references_than_parts(call: Call, matching_package: Path, tmp_path: Path) -> None:
    package = Path(shutil.copytree(matching_package, tmp_path / "more.partsight"))
    assert "\nreferences" not in call("inspect", package).out
    add_further(package, {"red": [solid("blue"), solid("green")], "cyan": [solid("red")]})
    found = call("inspect", package).out
    assert re.search(r"^matching +9 .*\b6 ", found, re.MULTILINE)
    assert re.search(r"^references +2 .*red 3, cyan 2$", found, re.MULTILINE)
    add_further(package, {label: [solid((9, 9, 9))] for label in COLOURS_BGR})
    assert re.search(r"^references +6 .*red 4, cyan 3, blue 2, .*, \.\.\.$", call("inspect", package).out, re.MULTILINE)


def test_a_package_of_version_1_has_no_bank(call: Call, tmp_path: Path) -> None:
    ended = call("inspect", write_version_1_package(tmp_path / "old.partsight"))
    assert (ended.code, ended.err) == (0, "")
    assert re.search(r"^matching +6 .*\b6 .*66×48 px, no bank;", ended.out, re.MULTILINE)


def test_without_golden_images_nothing_is_matched(call: Call, tiny_package: Path) -> None:
    assert "\nmatching" not in call("inspect", tiny_package).out


def test_a_package_that_compares_with_golden_images(call: Call, matching_package: Path) -> None:
    ended = call("inspect", matching_package)
    assert (ended.code, ended.err) == (0, "")
    _, compared, alone = re.split(r"^decision: ", ended.out, flags=re.MULTILINE)
    assert compared.startswith("comparison with golden images\n")
    assert alone.startswith("network alone\n")
    for decision, values in ((compared, ("agreement, 0 to 1", "0.5;")), (alone, ("cosine, -1 to 1", "0.9;"))):
        fields = dict(re.findall(r"^ *([a-z ]+?)  +(.+)$", decision, re.MULTILINE))
        assert (fields["score"], fields["threshold"].split()[0]) == values
    assert re.search(r"^  false accept +25\.00%", compared, re.MULTILINE)
    assert "false accept" not in alone
    assert "%" not in fields["others"]


def test_other_thresholds(call: Call, tmp_path: Path) -> None:
    path = write_tiny_package(tmp_path / "package.partsight")
    manifest = Manifest.from_json((path / "manifest.json").read_bytes(), "package")
    scores = tuple(0.5 + index / 100 for index in range(21))
    decision = msgspec.structs.replace(manifest.decision, taught_scores=scores, unknown_scores=scores)
    (path / "manifest.json").write_bytes(msgspec.structs.replace(manifest, decision=decision).to_json())
    shares = re.findall(r"(\d+) % at (0\.\d+)", call("inspect", path).out)
    assert {("5", "0.51"), ("10", "0.52"), ("25", "0.55"), ("50", "0.6"), ("90", "0.68")} <= set(shares)


@pytest.mark.parametrize("package", ["tiny_package", "matching_package"])
def test_json_is_the_manifest(call: Call, package: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(package)
    ended = call("inspect", path, "--json")
    assert (ended.code, ended.err) == (0, "")
    assert Manifest.from_json(ended.out.encode(), "stdout") == ModelPackage.read(path).manifest


def test_labels_in_the_order_of_the_network(call: Call, tmp_path: Path) -> None:
    labels = tuple(COLOURS_BGR)[::-1]
    ended = call("inspect", write_tiny_package(tmp_path / "turned.partsight", labels=labels), "--labels")
    assert (ended.code, ended.err) == (0, "")
    assert tuple(ended.out.splitlines()) == labels


@pytest.mark.parametrize("form", [(), ("--json",), ("--labels",)], ids=str)
@pytest.mark.parametrize("name", ["model.fp32.onnx", "report.html", "gallery/red.png"])
def test_an_altered_file(call: Call, copied: Path, name: str, form: tuple[str, ...]) -> None:
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(data)
    ended = call("inspect", copied, *form)
    assert (ended.code, ended.out) == (1, "")
    assert re.search(rf"{name} .*SHA-256", ended.err)


@pytest.mark.parametrize("name", ["manifest.json", "model.fp32.onnx", "gallery/red.png"])
def test_a_missing_file(call: Call, copied: Path, name: str) -> None:
    (copied / name).unlink()
    ended = call("inspect", copied)
    assert (ended.code, ended.out) == (1, "")
    assert name in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_future_schema(call: Call, tmp_path: Path) -> None:
    ended = call("inspect", write_tiny_package(tmp_path / "future.partsight", schema_version=99))
    assert (ended.code, ended.out) == (1, "")
    assert "schema version 99" in ended.err


def test_precisions(call: Call, tmp_path: Path) -> None:
    path = write_tiny_package(tmp_path / "several.partsight", refused={"int8": "too few labels agree"})
    manifest = Manifest.from_json((path / "manifest.json").read_bytes(), "several")
    gate = Gate(
        images=6,
        varied=5,
        agreement=1,
        varied_agreement=0.8,
        least_agreement=0.75,
        mean_score_drift=0.01,
        max_score_drift=0.25,
        in_shortlist=1,
        kept=("Conv_7",),
        calibration="least square error",
        calibration_frames=128,
        is_before_enrolment=True,
    )
    fp16 = msgspec.structs.replace(manifest.models["fp32"], parity=None, gate=gate)
    manifest = msgspec.structs.replace(manifest, models={**manifest.models, "fp16": fp16})
    (path / "manifest.json").write_bytes(manifest.to_json())
    ended = call("inspect", path)
    assert (ended.code, ended.err) == (0, "")
    for datum in (
        "model fp16",
        "100.00% of 6 golden images",
        "80.00% of 5 varied frames",
        "100.00% of varied frames",
        "0.01 in scores",
        "0.25 at most",
        "least square error, on 128 frames",
        "Conv_7",
        "too few labels agree",
    ):
        assert datum in ended.out
