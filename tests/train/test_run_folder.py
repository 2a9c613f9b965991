import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from partsight.runtime.core.errors import RunError
from partsight.runtime.core.storage import sha256_bytes
from partsight.runtime.images.preprocessing import Region, preprocess
from partsight.runtime.matching import BANK_FILE
from partsight.runtime.package import Gallery
from partsight.train.catalog import read_catalog
from partsight.train.run_folder import (
    MODEL_NAME,
    RECORD_NAME,
    ReferenceRecord,
    RunFolder,
    RunRecord,
    TrainConfig,
    reference_names,
    write_gallery,
)


@pytest.fixture
def run(small_run: RunFolder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run.path, tmp_path / "run"))


def edit(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = msgspec.json.decode((run / RECORD_NAME).read_bytes())
    change(document)
    (run / RECORD_NAME).write_bytes(msgspec.json.encode(document))


def test_round_trip(small_run: RunFolder) -> None:
    read = RunFolder.read(str(small_run.path))
    assert read == small_run
    assert isinstance(read.record, RunRecord)
    assert read.record.labels == tuple(golden.label for golden in small_run.record.goldens)


def test_a_record_with_every_option_set(run: Path) -> None:
    config = TrainConfig(
        backbone="VGG16",
        head="dense",
        weights="mine.h5",
        side_px=2048,
        region=Region(1, 2, 3, 4),
        seed=2**32 - 1,
        target_accuracy=1,
        max_epochs=0,
        max_false_reject=0,
    )
    edit(run, lambda document: document.update(config=msgspec.to_builtins(config), twins=[["a", "b"]]))
    record = RunFolder.read(run).record
    assert record.config == config
    assert record.twins == (("a", "b"),)


def test_the_record_is_for_people_too(small_run: RunFolder) -> None:
    assert (small_run.path / RECORD_NAME).read_text(encoding="utf-8").count("\n") > 100


def test_the_model_answers_as_in_the_record(small_run: RunFolder) -> None:
    record = small_run.record
    batch = preprocess(read_catalog(record.catalog).images[:], record.preprocess)
    found = RunFolder.read(small_run.path).load_model().predict_on_batch(batch)
    assert found["score"].shape == (12, 12)
    for row, golden in zip(found["score"], record.goldens, strict=True):
        assert record.labels[int(row.argmax())] == golden.predicted
        assert row.max() == pytest.approx(golden.score, abs=1e-5)
        second = np.argsort(-row)[1]
        assert record.labels[int(second)] == golden.nearest
        assert row.max() - row[second] == pytest.approx(golden.margin, abs=1e-5)


def test_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(RunError, match=re.escape(str(path))):
            RunFolder.read(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"\0" * len(data),
        lambda data: data.replace(b"EfficientNetLite0", b"EfficientNetLit\xff0"),
        lambda _: b"[" * 100_000,
        lambda _: b"{}",
        lambda _: b"[]",
    ],
    ids=["empty", "half", "zeros", "no text", "deep", "no fields", "a list"],
)
def test_damaged_record(run: Path, damage: Callable[[bytes], bytes]) -> None:
    (run / RECORD_NAME).write_bytes(damage((run / RECORD_NAME).read_bytes()))
    with pytest.raises(RunError, match=re.escape(RECORD_NAME)):
        RunFolder.read(run)


@pytest.mark.parametrize("byte", [0, 0x22, 0x7B, 0xFF])
def test_one_damaged_byte_raises_nothing_else(run: Path, byte: int) -> None:
    whole = (run / RECORD_NAME).read_bytes()
    for index in range(0, len(whole), 97):
        (run / RECORD_NAME).write_bytes(whole[:index] + bytes([byte]) + whole[index + 1 :])
        try:
            RunFolder.read(run)
        except RunError:
            continue


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("schema_version", lambda document: document.update(schema_version=3)),
        ("labels_sha", lambda document: document.pop("catalog_sha256")),
        ("golden_accuracy", lambda document: document.update(golden_accuracy=1.5)),
        ("side_px", lambda document: document["config"].update(side_px=31)),
        ("seed", lambda document: document["config"].update(seed=-1)),
        ("seed", lambda document: document["config"].update(seed=2**32)),
        ("max_epochs", lambda document: document["config"].update(max_epochs=-1)),
        ("target_accuracy", lambda document: document["config"].update(target_accuracy=1.01)),
        ("max_false_reject", lambda document: document["config"].update(max_false_reject=-0.01)),
        ("region", lambda document: document["config"].update(region={"x": -1, "y": 0, "width": 9, "height": 9})),
        ("score", lambda document: document["goldens"][3].update(score=None)),
        ("threshold", lambda document: document["calibration"]["decision"].update(threshold="high")),
        ("threshold", lambda document: document["calibration"]["matched_decision"].update(threshold="high")),
        ("calibration", lambda document: document.pop("calibration")),
        ("height", lambda document: document["calibration"]["matching"].update(height=5)),
        ("curve", lambda document: document["calibration"]["matched_curve"].update(threshold=[None])),
        ("expected_right", lambda document: document["calibration"].update(expected_right=1.5)),
    ],
)
def test_wrong_fields(run: Path, field: str, change: Callable[[dict[str, Any]], object]) -> None:
    edit(run, change)
    with pytest.raises(RunError, match=re.escape(RECORD_NAME)):
        RunFolder.read(run)


def test_the_gallery_of_a_run(run: Path) -> None:
    gallery = RunFolder.read(run).load_gallery()
    assert gallery is not None
    assert len(gallery.files) == len(gallery.records) == 12
    assert gallery.files[3] == (run / "gallery" / "00003.jpg").read_bytes()


@pytest.mark.parametrize("name", [BANK_FILE, "gallery/00011.jpg"])
def test_an_altered_gallery(run: Path, name: str) -> None:
    data = bytearray((run / name).read_bytes())
    data[-1] ^= 1
    (run / name).write_bytes(data)
    with pytest.raises(RunError, match=re.escape(str(run))):
        RunFolder.read(run).load_gallery()
    (run / name).unlink()
    with pytest.raises(RunError, match=re.escape(str(run / name))):
        RunFolder.read(run).load_gallery()


def test_names_of_references() -> None:
    assert reference_names([0, 1, 2]) == tuple(f"gallery/0000{number}.jpg" for number in (0, 1, 2))
    found = reference_names([0, 0, 1, 2, 2, 2])
    assert found == tuple(f"gallery/0000{number}.jpg" for number in (0, 3, 1, 2, 4, 5))


def test_a_gallery_with_further_references(run: Path) -> None:
    single = RunFolder.read(run)
    gallery = single.load_gallery()
    assert gallery is not None
    rows = [0, 0, 1, 2, 2, 2, *range(3, 12)]
    several = Gallery(tuple(gallery.files[row] for row in rows), gallery.records[rows])
    shutil.rmtree(run / "gallery")
    digest = write_gallery(run, several)
    labels = single.record.labels
    further = [ReferenceRecord(labels[index], f"{number}.jpg", "0" * 64) for number, index in enumerate((0, 2, 2))]
    edit(run, lambda document: document.update(gallery_sha256=digest, further=msgspec.to_builtins(further)))
    read = RunFolder.read(run)
    assert read.record.class_of == tuple(rows)
    found = read.load_gallery()
    assert found is not None
    assert found.files == several.files
    assert found.records.tobytes() == several.records.tobytes()
    assert (run / "gallery" / "00013.jpg").read_bytes() == gallery.files[2]
    assert found.golden_files == gallery.files


def test_a_run_of_schema_version_1_has_its_references_prepared_again(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its bank holds the records of an earlier comparison."""
    expected = RunFolder.read(run).load_gallery()
    assert expected is not None
    assert not caplog.records
    sums = [sha256_bytes(data) for data in (*expected.files, b"a bank of then")]
    (run / BANK_FILE).write_bytes(b"a bank of then")
    digest = sha256_bytes("".join(sums).encode())
    edit(run, lambda document: document.update(schema_version=1, gallery_sha256=digest))
    edit(run, lambda document: document.pop("further"))
    found = RunFolder.read(run).load_gallery()
    assert found is not None
    assert found.files == expected.files
    assert found.records.tobytes() == expected.records.tobytes()
    assert "train again" in caplog.text


def test_altered_model(run: Path) -> None:
    data = bytearray((run / MODEL_NAME).read_bytes())
    data[len(data) // 2] ^= 1
    (run / MODEL_NAME).write_bytes(data)
    with pytest.raises(RunError, match=re.escape(MODEL_NAME)):
        RunFolder.read(run).load_model()


def test_missing_model(run: Path) -> None:
    (run / MODEL_NAME).unlink()
    with pytest.raises(RunError, match=re.escape(MODEL_NAME)):
        RunFolder.read(run).load_model()


def test_a_model_that_is_cut_after_it_was_checked(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras reads the file again."""
    whole, finished = (run / MODEL_NAME).read_bytes(), RunFolder.read(run)
    (run / MODEL_NAME).write_bytes(whole[:100])
    monkeypatch.setattr(Path, "read_bytes", lambda _: whole)
    with pytest.raises(RunError, match=re.escape(MODEL_NAME)):
        finished.load_model()
