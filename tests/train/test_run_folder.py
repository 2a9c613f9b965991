import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from partsight.runtime.core.errors import RunError
from partsight.runtime.images.preprocessing import Region, preprocess
from partsight.train.catalog import read_catalog
from partsight.train.run_folder import MODEL_NAME, RECORD_NAME, RunFolder, RunRecord, TrainConfig


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
        ("schema_version", lambda document: document.update(schema_version=2)),
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
