"""Recognition of a chunk: the answers of a plain loop, and no row by a machine that lacks a file."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from partsight.runtime import Recognizer
from partsight.runtime.cluster.batch.recognition import AskedPackage, Opening, RecognizeChunk
from partsight.runtime.cluster.batch.sources import Chunk, cut, list_source
from partsight.runtime.core import ImageError, RemoteError
from partsight.runtime.images import list_images, read_image
from partsight.runtime.package import ModelPackage
from tests.runtime.cluster.batch.archives import frame, labels_of, plain_labels, png
from tests.tiny import write_tiny_package


def asked(path: Path) -> AskedPackage:
    return AskedPackage(path, ModelPackage.read(path).package_id)


def work(*packages: Path) -> RecognizeChunk:
    return RecognizeChunk(tuple(map(asked, packages)), Opening(batch_size=8, threads=1), readers=2)


def whole(folder: Path) -> Chunk:
    (chunk,) = cut(list_source(folder), 1000)
    return chunk


def test_the_rows_of_a_chunk_are_the_answers_of_a_plain_loop(package: Path, archive: Path) -> None:
    rows = work(package)(whole(archive)).to_pylist()
    entries = list_images(archive).entries
    assert [row["index"] for row in rows] == list(range(len(entries)))
    assert [row["source"] for row in rows] == [str(path) for path in entries]
    assert labels_of(rows) == plain_labels(package, archive)
    with Recognizer(package, batch_size=8) as recognizer:
        for row, path in zip(rows, entries, strict=True):
            if row["outcome"] == "failed":
                assert (row["package_id"], row["score"], row["top"]) == ("", None, [])
                with pytest.raises(ImageError, match=r".* not an image"):
                    read_image(path)
                continue
            answer = recognizer.recognize(read_image(path))
            assert row["outcome"] == ("recognised" if answer.accepted else "unknown")
            assert row["score"] == pytest.approx(answer.score, abs=1e-6)
            assert row["threshold"] == pytest.approx(answer.threshold, abs=1e-6)
            assert [each["label"] for each in row["top"]] == [each.label for each in answer.top]
            assert (row["reason"], row["reference"]) == (answer.reason, answer.reference)
            assert (row["error"], row["package_id"]) == ("", recognizer.package_id)


def test_each_frame_is_read_once_for_two_packages(
    package: Path, tiny_package: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(
        "partsight.runtime.cluster.batch.frames.read_image", lambda path: (read.append(path), read_image(path))[1]
    )
    rows = work(package, tiny_package)(whole(archive)).to_pylist()
    assert sorted(read) == list_images(archive).entries
    assert labels_of(rows) == plain_labels(package, archive)
    old = ["failed" if row["old_outcome"] == "failed" else row["old_label"] for row in rows]
    assert old == plain_labels(tiny_package, archive)


def test_frames_that_the_package_cannot_answer_fail_and_the_others_do_not(package: Path, tmp_path: Path) -> None:
    grey = frame(0)[:, :, 0].copy()
    for number, image in enumerate((frame(0), grey, frame(2))):
        (tmp_path / f"{number}.png").write_bytes(png(image))
    rows = work(package)(whole(tmp_path)).to_pylist()
    assert [row["outcome"] for row in rows] == ["recognised", "failed", "recognised"]


def test_a_machine_without_the_frames_answers_none(package: Path, archive: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(archive, tmp_path / "away"))
    chunk = whole(folder)
    shutil.rmtree(folder)
    with pytest.raises(RemoteError, match="away"):
        work(package)(chunk)


def test_a_share_that_goes_away_in_the_midst_fails_no_frame(package: Path, archive: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(archive, tmp_path / "away"))
    chunk = whole(folder)
    task = work(package)
    assert task(chunk).num_rows == len(chunk.frames)
    asked_for = iter([True, False])
    task_place = chunk.frames.place
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "exists", lambda path: next(asked_for) if path == task_place else True)
        with pytest.raises(RemoteError, match="away"):
            task(chunk)


def test_a_machine_with_another_package_answers_nothing(package: Path, archive: Path, tmp_path: Path) -> None:
    other = write_tiny_package(tmp_path / "other.partsight")
    task = RecognizeChunk((replace(asked(package), path=other),), Opening(threads=1), 1)
    with pytest.raises(RemoteError, match=asked(package).package_id):
        task(whole(archive))


def test_a_machine_without_the_package_answers_nothing(package: Path, archive: Path, tmp_path: Path) -> None:
    task = RecognizeChunk((replace(asked(package), path=tmp_path / "gone.partsight"),), Opening(threads=1), 1)
    with pytest.raises(RemoteError, match="gone"):
        task(whole(archive))
