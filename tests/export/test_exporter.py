"""What stands in a package that export wrote."""

import shutil
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest

from partsight.export import exporter
from partsight.export.exporter import export
from partsight.runtime import ModelPackage, read_image
from partsight.runtime.errors import RunError
from partsight.runtime.manifest import METADATA_KEY, Manifest
from partsight.runtime.storage import sha256_bytes
from partsight.train.run_folder import RECORD_NAME, RunFolder


def test_every_file_is_in_the_manifest(package: ModelPackage) -> None:
    files = {path.relative_to(package.path).as_posix() for path in package.path.rglob("*") if path.is_file()}
    assert files == {"manifest.json", *package.hashes()}
    for name, sha256 in package.hashes().items():
        assert sha256_bytes((package.path / name).read_bytes()) == sha256
    assert [path.name for path in package.path.parent.iterdir()] == ["line.partsight"]


def test_the_manifest_says_what_training_said(package: ModelPackage, small_run: RunFolder) -> None:
    manifest, record = package.manifest, small_run.record
    assert manifest.labels == record.labels
    assert manifest.preprocess == record.preprocess
    assert manifest.decision == record.decision
    assert list(manifest.models) == ["fp32"]
    provenance = manifest.provenance
    assert (provenance.backbone, provenance.backbone_weights, provenance.head) == (
        "EfficientNetLite0",
        "embedded",
        "cosine",
    )
    assert provenance.catalog_sha256 == record.catalog_sha256
    assert provenance.weights_sha256 == record.weights_sha256
    assert provenance.golden_accuracy == record.golden_accuracy
    assert provenance.versions == record.versions


def test_the_model_carries_the_manifest(package: ModelPackage) -> None:
    model = onnx.load(package.path / "model.fp32.onnx")
    (text,) = [item.value for item in model.metadata_props if item.key == METADATA_KEY]
    alone = Manifest.from_json(text.encode(), "metadata")
    assert alone == msgspec.structs.replace(package.manifest, models={}, files={})
    assert model.producer_name == "partsight"
    assert package.model("fp32").opset == model.opset_import[0].version == exporter.OPSET


def test_the_gallery_shows_each_part(package: ModelPackage, small_run: RunFolder) -> None:
    for place, golden in enumerate(small_run.record.goldens):
        thumbnail = read_image(package.path / "gallery" / f"{place:05}.jpg")
        image = read_image(Path(small_run.record.catalog) / golden.file)
        assert max(thumbnail.shape) == exporter.THUMBNAIL_SIDE_PX
        small = cv2.resize(image, thumbnail.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(thumbnail.astype(int) - small).mean() < 6


def test_thumbnails_keep_their_shape() -> None:
    files = exporter._gallery([np.zeros((50, 400, 3), np.uint8), np.zeros((1000, 2), np.uint8)])
    shapes = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).shape for data in files.values()]
    assert shapes == [(12, 96, 3), (96, 1)]
    assert list(files) == ["gallery/00000.jpg", "gallery/00001.jpg"]


def test_the_report_tells_of_the_comparison(package: ModelPackage) -> None:
    parity = package.model("fp32").parity
    text = (package.path / "report.html").read_text(encoding="utf-8")
    for said in (f"{parity.labels_equal} of {parity.images}", "in the first convolution", "BatchNormalization nodes"):
        assert said in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text.replace("https://www.w3.org", "")


def test_a_record_of_fewer_parts(small_run: RunFolder, tmp_path: Path) -> None:
    run = Path(shutil.copytree(small_run.path, tmp_path / "run"))
    record = msgspec.structs.replace(small_run.record, goldens=small_run.record.goldens[:-1])
    (run / RECORD_NAME).write_bytes(msgspec.json.encode(record))
    with pytest.raises(RunError, match=r"the model has 12 classes, the record 11 labels.*train again"):
        export(run, tmp_path / "line.partsight")
    assert not (tmp_path / "line.partsight").exists()
