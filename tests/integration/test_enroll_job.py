"""Enrolment as a user does it, on real images: parts that were never trained are known on the line."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from partsight.runtime import ModelPackage, Recognizer, Result, read_image
from partsight.runtime.outlines import OUTLINE_FILE

TAUGHT, ENROLLED = 14, 4


def partsight(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "partsight.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=280)


@pytest.fixture(scope="module")
def names(example_parts: Path) -> list[str]:
    """Parts that have a line frame; every fourth or so is enrolled."""
    return [path.name for path in sorted((example_parts / "line").iterdir())[3::11]][: TAUGHT + ENROLLED]


@pytest.fixture(scope="module")
def new(names: list[str]) -> list[str]:
    return names[2::4][:ENROLLED]


@pytest.fixture(scope="module")
def before(names: list[str], new: list[str], example_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("enrolment")
    for name in names:
        shutil.copytree(example_parts / "golden" / name, folder / ("new" if name in new else "golden") / name)
    trained = partsight("train", folder / "golden", "--out", folder / "run")
    assert trained.returncode == 0, trained.stderr
    exported = partsight("export", folder / "run", "--precision", "fp32", "--out", folder / "before.partsight")
    assert exported.returncode == 0, exported.stderr
    return folder / "before.partsight"


@pytest.fixture(scope="module")
def after(before: Path) -> Path:
    package = before.with_name("after.partsight")
    done = partsight("enroll", before, "--catalog", before.parent / "new", "--out", package)
    assert done.returncode == 0, done.stderr
    assert f"{ENROLLED} added, 0 replaced, 0 removed; {TAUGHT + ENROLLED} now" in done.stdout
    return package


def answers(package: Path, names: list[str], example_parts: Path) -> list[Result]:
    frames = [read_image(path) for name in names for path in sorted((example_parts / "line" / name).iterdir())]
    with Recognizer(package) as recognizer:
        return recognizer.recognize_batch(frames)


def test_line_frames_of_new_parts_get_their_label(after: Path, new: list[str], example_parts: Path) -> None:
    results = answers(after, new, example_parts)
    expected = [name for name in new for _ in (example_parts / "line" / name).iterdir()]
    assert [result.top[0][0] for result in results] == expected


def test_the_others_are_answered_as_before(
    before: Path, after: Path, names: list[str], new: list[str], example_parts: Path
) -> None:
    old = [name for name in names if name not in new]
    results = [answers(package, old, example_parts) for package in (before, after)]
    assert [result.label for result in results[0]] == [result.label for result in results[1]]
    assert [result.score for result in results[0]] == [result.score for result in results[1]]
    frames = [read_image(path) for name in old for path in (example_parts / "line" / name).iterdir()]
    scores = []
    for package in (before, after):
        with Recognizer(package) as recognizer:
            scores.append(recognizer.infer(frames).score)
    assert (scores[0] == scores[1][:, :TAUGHT]).all()


def test_what_stays_has_the_same_bytes(before: Path, after: Path) -> None:
    was, now = ModelPackage.read(before), ModelPackage.read(after)
    now.verify()
    assert now.manifest.labels[:TAUGHT] == was.manifest.labels
    for name, digest in was.manifest.files.items():
        if name != OUTLINE_FILE:
            assert now.manifest.files[name] == digest
    old, new = was.references(), now.references()
    assert old and new and old.outlines and new.outlines
    np.testing.assert_array_equal(new.outlines.values[:TAUGHT], old.outlines.values)


def test_a_removed_part_is_no_longer_named(after: Path, new: list[str], example_parts: Path) -> None:
    package = after.with_name("removed.partsight")
    done = partsight("enroll", after, "--remove", new[0], "--out", package)
    assert done.returncode == 0, done.stderr
    assert all(name != new[0] for result in answers(package, new[:1], example_parts) for name, _ in result.top)
