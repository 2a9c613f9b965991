"""Content of an exported package."""

import shutil
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest

from partsight.export import exporter
from partsight.export.exporter import export
from partsight.runtime import ModelPackage, Recognizer, read_image
from partsight.runtime.core.errors import RunError
from partsight.runtime.core.storage import sha256_bytes
from partsight.runtime.images.preprocessing import preprocess
from partsight.runtime.matching import BANK_FILE, GRAPH_FILE, MAX_PX, GraphMatcher
from partsight.runtime.package import prepare_gallery, resized
from partsight.runtime.package.manifest import METADATA_KEY, Manifest
from partsight.runtime.recognition import load_bank
from partsight.train.run_folder import RECORD_NAME, RunFolder, TrainConfig
from partsight.train.trainer import train


def test_every_file_is_in_the_manifest(package: ModelPackage) -> None:
    files = {path.relative_to(package.path).as_posix() for path in package.path.rglob("*") if path.is_file()}
    assert files == {"manifest.json", *package.hashes()}
    for name, sha256 in package.hashes().items():
        assert sha256_bytes((package.path / name).read_bytes()) == sha256
    assert [path.name for path in package.path.parent.iterdir()] == ["line.partsight"]


def test_the_manifest_repeats_the_training_record(package: ModelPackage, small_run: RunFolder) -> None:
    manifest, record = package.manifest, small_run.record
    assert manifest.labels == record.labels
    assert manifest.preprocess == record.preprocess
    assert manifest.decision == record.calibration.decision
    assert manifest.matching is not None
    assert manifest.matching.spec == record.calibration.matching
    assert manifest.matching.decision == record.calibration.matched_decision
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
    # It brings no golden images, so it compares with none.
    assert alone == msgspec.structs.replace(package.manifest, models={}, files={}, matching=None)
    assert model.producer_name == "partsight"
    assert package.model("fp32").opset == model.opset_import[0].version == exporter.OPSET


def test_the_gallery_holds_what_frames_are_compared_with(package: ModelPackage, small_run: RunFolder) -> None:
    matching = package.manifest.matching
    assert matching is not None
    assert matching.references == tuple(f"gallery/{index:05}.jpg" for index in range(len(small_run.record.labels)))
    assert sorted(matching.references) == [name for name in sorted(package.hashes()) if name.startswith("gallery/")]
    for index, golden in enumerate(small_run.record.goldens):
        image = read_image(Path(small_run.record.catalog) / golden.file)
        small = preprocess([image], matching.spec.preprocess(package.manifest.preprocess))[0]
        assert max(small.shape) == MAX_PX
        for reference in (package.golden_image(index), read_image(package.path / "gallery" / f"{index:05}.jpg")):
            assert reference.shape == small.shape
            assert np.abs(reference.astype(int) - small).mean() < 2


def test_the_bank_is_that_of_the_gallery(package: ModelPackage, small_run: RunFolder) -> None:
    record = small_run.record
    matching = package.manifest.matching
    assert matching is not None
    assert matching.bank == BANK_FILE
    images = [read_image(Path(record.catalog) / golden.file) for golden in record.goldens]
    expected = prepare_gallery(images, record.preprocess, record.calibration.matching)
    assert load_bank(package).records.tobytes() == expected.records.tobytes()


def test_the_graph_answers_from_the_packages_files(package: ModelPackage, small_run: RunFolder) -> None:
    matching, record = package.manifest.matching, small_run.record
    assert matching is not None
    assert matching.graph == GRAPH_FILE
    graph = package.file_bytes(GRAPH_FILE)
    matcher = GraphMatcher(graph, load_bank(package), matching.spec, "cpu")
    images = [read_image(Path(record.catalog) / golden.file) for golden in record.goldens]
    frames = preprocess(images, matching.spec.preprocess(package.manifest.preprocess))
    found = matcher.match(frames, np.zeros((len(images), len(images)), np.float32))
    assert found.classes[:, 0].tolist() == list(range(len(images)))
    assert (found.agreement[:, 0] > 0.9).all()


def test_answers_are_compared_with_the_golden_images(package: ModelPackage, small_run: RunFolder) -> None:
    record = small_run.record
    images = [read_image(Path(record.catalog) / golden.file) for golden in record.goldens]
    matching = package.manifest.matching
    assert matching is not None
    with Recognizer(package.path) as compared, Recognizer(package.path, matching=False) as alone:
        assert compared.threshold == matching.decision.threshold
        assert alone.threshold == package.manifest.decision.threshold
        assert [part.label for part in compared.recognize_batch(images)] == list(record.labels)
        assert all(part.score > 0.9 for part in compared.recognize_batch(images))
        covered = images[3].copy()
        cv2.circle(covered, (128, 128), 10, (255, 0, 255), -1)
        assert compared.recognize(covered).label is None
    with Recognizer(package.path / "model.fp32.onnx") as bare, Recognizer(package.path, matching=False) as alone:
        assert [(part.label, part.score, part.top) for part in bare.recognize_batch(images)] == [
            (part.label, part.score, part.top) for part in alone.recognize_batch(images)
        ]


def test_the_report_shows_the_comparison(package: ModelPackage) -> None:
    parity = package.model("fp32").parity
    text = (package.path / "report.html").read_text(encoding="utf-8")
    for datum in (f"{parity.labels_equal} of {parity.images}", "convolution", "BatchNormalization"):
        assert datum in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text.replace("https://www.w3.org", "")


def test_a_run_with_further_references(small_catalog: Path, tiny_backbone: None, tmp_path: Path) -> None:
    catalog = tmp_path / "golden"
    for source in sorted(small_catalog.iterdir())[:3]:
        shutil.copytree(source, catalog / source.name)
    labels = sorted(path.name for path in catalog.iterdir())
    moved = [np.roll(read_image(catalog / labels[1] / "golden.jpg"), shift, axis=0) for shift in (60, 120)]
    for number, image in enumerate(moved):
        cv2.imwrite(str(catalog / labels[1] / f"{number}.png"), image)
    run = train(catalog, tmp_path / "run", TrainConfig(side_px=64))
    shutil.rmtree(catalog / labels[1])
    shutil.copytree(small_catalog / labels[1], catalog / labels[1])  # the run's own gallery has further references
    package = export(run.path, tmp_path / "line.partsight", precisions=("fp32",))
    matching = package.manifest.matching
    assert matching is not None
    assert matching.references == ("gallery/00000.jpg", "gallery/00001.jpg", "gallery/00002.jpg")
    assert matching.further == {labels[1]: ("gallery/00003.jpg", "gallery/00004.jpg")}
    package.check_hashes()
    assert load_bank(package).records["class"].tolist() == [0, 1, 1, 1, 2]
    with Recognizer(package.path) as recognizer:
        found = recognizer.recognize_batch([*moved, read_image(catalog / labels[1] / "golden.jpg")])
        assert [(answer.label, answer.reference) for answer in found] == [(labels[1], index) for index in (1, 2, 0)]
    for number, image in enumerate(moved, start=1):
        stored = resized(package.reference_image(1, number), (256, 256))
        assert np.abs(stored.astype(int) - image).mean() < 4


@pytest.mark.usefixtures("converted_once")
def test_a_run_of_an_earlier_schema(small_run: RunFolder, package: ModelPackage, tmp_path: Path) -> None:
    """Its bank has other records, so export prepares the references of its gallery again."""
    run = Path(shutil.copytree(small_run.path, tmp_path / "run"))
    files = [run / "gallery" / f"{index:05}.jpg" for index in range(12)]
    (run / BANK_FILE).write_bytes(b"a bank of then")
    sums = "".join(sha256_bytes(path.read_bytes()) for path in (*files, run / BANK_FILE))
    record = msgspec.structs.replace(small_run.record, schema_version=1, gallery_sha256=sha256_bytes(sums.encode()))
    (run / RECORD_NAME).write_bytes(msgspec.json.encode(record))
    found = export(run, tmp_path / "line.partsight", precisions=("fp32",))
    assert (found.path / BANK_FILE).read_bytes() == (package.path / BANK_FILE).read_bytes()
    assert found.manifest.matching == package.manifest.matching


def test_a_record_of_fewer_parts(small_run: RunFolder, tmp_path: Path) -> None:
    run = Path(shutil.copytree(small_run.path, tmp_path / "run"))
    record = msgspec.structs.replace(small_run.record, goldens=small_run.record.goldens[:-1])
    (run / RECORD_NAME).write_bytes(msgspec.json.encode(record))
    with pytest.raises(RunError, match=r"12 .*11 "):
        export(run, tmp_path / "line.partsight")
    assert not (tmp_path / "line.partsight").exists()
