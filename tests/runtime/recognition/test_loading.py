import io
import json
import os
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from partsight.runtime import PackageError, Recognizer
from partsight.runtime.images import PreprocessSpec
from partsight.runtime.matching import MatchingSpec
from partsight.runtime.package import with_digest
from tests.runtime.recognition.samples import COLOURS, ORANGE, answers, mixed, names, numbers
from tests.tiny import (
    AGREEMENT_THRESHOLD,
    SIDE_PX,
    THRESHOLD,
    solid,
    tiny_manifest,
    tiny_matching,
    tiny_model,
    write_tiny_package,
)


@pytest.fixture
def copied(matching_package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(matching_package, tmp_path / "line3.partsight"))


@pytest.mark.parametrize("kind", ["tiny_package", "matching_package"])
def test_an_onnx_file_alone(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """It has no golden images, whatever its metadata says."""
    alone = shutil.copy(request.getfixturevalue(kind) / "model.fp32.onnx", tmp_path / "alone.onnx")
    with Recognizer(str(alone)) as recognizer:
        assert [recognizer.recognize(solid(colour)).label for colour in COLOURS] == COLOURS
        assert recognizer.manifest == tiny_manifest()
        assert recognizer.threshold == THRESHOLD
        assert len(recognizer.package_id) == 16
        assert recognizer.golden_image("red") is None


def test_an_onnx_file_without_a_manifest(tmp_path: Path) -> None:
    model = onnx.load_from_string(tiny_model())
    del model.metadata_props[:]
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(with_digest(model.SerializeToString()))
    with pytest.raises(PackageError, match=re.escape(str(alone))):
        Recognizer(alone)


@pytest.mark.parametrize("name", ["missing.onnx", "missing.partsight"])
def test_nothing_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(PackageError, match=re.escape(str(tmp_path / name))):
        Recognizer(tmp_path / name)


@pytest.mark.parametrize("call", ["stat", "open"])
def test_an_onnx_file_alone_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(b"whatever")
    real = {"stat": os.stat, "open": io.open}[call]

    def refuse(path: object, *args: object, **options: object) -> object:
        if str(path) == str(alone):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **options)  # type: ignore[operator]

    monkeypatch.setattr(os if call == "stat" else io, call, refuse)
    with pytest.raises(PackageError, match=re.escape(str(alone))):
        Recognizer(alone)


def test_an_altered_model_is_refused(copied: Path) -> None:
    (copied / "model.fp32.onnx").write_bytes(tiny_model(classes=5))
    with pytest.raises(PackageError, match=r"model\.fp32\.onnx has SHA-256"):
        Recognizer(copied)


def test_an_altered_bank_is_refused(copied: Path) -> None:
    data = bytearray((copied / "bank.npy").read_bytes())
    data[-1] ^= 1
    (copied / "bank.npy").write_bytes(data)
    with pytest.raises(PackageError, match=r"bank\.npy has SHA-256"):
        Recognizer(copied)
    with Recognizer(copied, matching=False) as recognizer:
        assert recognizer.recognize(solid("red")).label == "red"


@pytest.mark.parametrize("labels", [("red",), tuple(COLOURS[:5]), (*COLOURS, "one more")])
@pytest.mark.parametrize("alone", [False, True])
def test_labels_that_do_not_match_the_network(tmp_path: Path, labels: tuple[str, ...], alone: bool) -> None:
    package = write_tiny_package(tmp_path / "line3.partsight", labels=labels)
    path = package / "model.fp32.onnx" if alone else package
    with pytest.raises(PackageError, match=rf"{len(labels)} labels.* 6 "):
        Recognizer(path)


@pytest.mark.parametrize("size", [(SIDE_PX, SIDE_PX + 1), (SIDE_PX + 1, SIDE_PX)])
def test_a_size_that_does_not_match_the_network(tmp_path: Path, size: tuple[int, int]) -> None:
    package = write_tiny_package(tmp_path / "line3.partsight", preprocess=PreprocessSpec(*size))
    with pytest.raises(PackageError, match=rf"\({size[0]}, {size[1]}\).*\(36, 36\)"):
        Recognizer(package)


def test_golden_images_of_another_size_than_in_the_manifest(tmp_path: Path) -> None:
    spec = MatchingSpec(height=SIDE_PX + 6, width=SIDE_PX)
    matching = msgspec.structs.replace(tiny_matching(), spec=spec)
    with pytest.raises(PackageError, match=r"bank\.npy.*36×42"):
        Recognizer(write_tiny_package(tmp_path / "l.partsight", matching=matching))


@pytest.mark.parametrize("alone", [False, True])
def test_as_many_references_as_labels(tmp_path: Path, alone: bool) -> None:
    matching = msgspec.structs.replace(tiny_matching(), references=tiny_matching().references[:-1])
    package = write_tiny_package(tmp_path / "line3.partsight", matching=matching)
    with pytest.raises(PackageError, match=r"5 .*6 "):
        Recognizer(package / "model.fp32.onnx" if alone else package)


def test_a_reference_without_a_hash(copied: Path) -> None:
    document = json.loads((copied / "manifest.json").read_bytes())
    del document["files"]["gallery/yellow.png"]
    (copied / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(PackageError, match=r"gallery/yellow\.png"):
        Recognizer(copied)


def as_version_1(package: Path, side_px: int = SIDE_PX) -> None:
    """Make a package one that partsight wrote before schema version 2."""
    path = package / "manifest.json"
    document = json.loads(path.read_bytes())
    matching = document.pop("matching")
    document["schema_version"] = 1
    document["verification"] = {
        "spec": {"height": side_px, "width": side_px, "shortlist": 32, "finalists": 5, "clear_margin": 0.2},
        "decision": matching["decision"],
        "references": matching["references"],
        "outlines": "bank.npy",
    }
    path.write_text(json.dumps(document))


def test_a_package_of_schema_version_1_answers_alike(
    matching_package: Path, copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    as_version_1(copied)
    (copied / "bank.npy").write_bytes(b"nothing reads it")
    frames = mixed(20)
    with Recognizer(matching_package) as recognizer:
        expected = recognizer.recognize_batch(frames)
    assert caplog.records == []
    with Recognizer(copied) as recognizer:
        assert recognizer.threshold == AGREEMENT_THRESHOLD
        found = recognizer.recognize_batch(frames)
        recognizer.preload()
        golden = recognizer.golden_image("red")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert str(copied) in record.getMessage()
    assert answers(found) == answers(expected)
    np.testing.assert_array_equal(golden, solid("red", SIDE_PX, SIDE_PX))


@pytest.mark.parametrize(("side_px", "expected"), [(32, 36), (40, 42), (64, 66)])
def test_a_package_of_schema_version_1_of_another_size(copied: Path, side_px: int, expected: int) -> None:
    """A size that is no multiple of 6: frames and golden images get the next multiple."""
    as_version_1(copied, side_px)
    with Recognizer(copied) as recognizer:
        assert [recognizer.recognize(solid(colour)).label for colour in COLOURS] == COLOURS
        assert recognizer.recognize(solid(ORANGE)).label is None
        golden = recognizer.golden_image("red")
        assert golden is not None and golden.shape == (expected, expected, 3)


def test_a_package_of_schema_version_1_without_golden_images(
    tiny_package: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    package = Path(shutil.copytree(tiny_package, tmp_path / "line3.partsight"))
    document = json.loads((package / "manifest.json").read_bytes())
    del document["matching"]
    (package / "manifest.json").write_text(json.dumps(document | {"schema_version": 1, "verification": None}))
    with Recognizer(package) as recognizer:
        assert recognizer.threshold == THRESHOLD
        assert recognizer.recognize(solid("red")).label == "red"
    assert caplog.records == []


def test_a_package_with_a_search_answers_alike(tiny_package: Path, tmp_path: Path) -> None:
    package = write_tiny_package(tmp_path / "many.partsight", is_searched=True)
    frames = mixed(40)
    with Recognizer(package) as searching, Recognizer(tiny_package) as plain:
        found, expected = searching.recognize_batch(frames), plain.recognize_batch(frames)
        assert searching.infer([]).score.shape == (0, len(COLOURS))
    assert [result[:2] for result in names(found)] == [result[:2] for result in names(expected)]
    np.testing.assert_allclose(numbers(found), numbers(expected), atol=1e-6)


def test_a_file_without_scores_cannot_be_used_alone(tmp_path: Path) -> None:
    package = write_tiny_package(tmp_path / "many.partsight", is_searched=True)
    with pytest.raises(PackageError, match="bound"):
        Recognizer(package / "model.fp32.onnx")
