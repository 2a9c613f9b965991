"""Enrolment as a user does it, on real images: parts that were never trained are known on the line."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from partsight.runtime import ModelPackage, Recognizer, Result, read_image
from partsight.runtime.matching import BANK_FILE
from partsight.runtime.recognition import load_bank
from tests.integration.commands import partsight
from tests.integration.conftest import PARTS

ENROLLED = 4


@pytest.fixture(scope="module")
def taught(catalog: Path) -> list[str]:
    return sorted(path.name for path in catalog.iterdir())


@pytest.fixture(scope="module")
def new(taught: list[str], example_parts: Path) -> list[str]:
    """Parts that have a line frame, and were not taught."""
    return [path.name for path in sorted((example_parts / "line").iterdir())[3::37] if path.name not in taught][
        :ENROLLED
    ]


@pytest.fixture(scope="module")
def after(package: Path, new: list[str], example_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("enrolment")
    for name in new:
        shutil.copytree(example_parts / "golden" / name, folder / "new" / name)
    done = partsight("enroll", package, "--catalog", folder / "new", "--out", folder / "after.partsight")
    assert done.returncode == 0, done.stderr
    assert f"{ENROLLED} added, 0 replaced, 0 removed; {PARTS + ENROLLED} now" in done.stdout
    return folder / "after.partsight"


def answers(package: Path, names: list[str], example_parts: Path) -> list[Result]:
    frames = [read_image(path) for name in names for path in sorted((example_parts / "line" / name).iterdir())]
    with Recognizer(package) as recognizer:
        return recognizer.recognize_batch(frames)


def test_line_frames_of_new_parts_get_their_label(after: Path, new: list[str], example_parts: Path) -> None:
    results = answers(after, new, example_parts)
    expected = [name for name in new for _ in (example_parts / "line" / name).iterdir()]
    assert [result.top[0][0] for result in results] == expected


def test_the_others_are_answered_as_before(package: Path, after: Path, taught: list[str], example_parts: Path) -> None:
    results = [answers(which, taught, example_parts) for which in (package, after)]
    assert [result.label for result in results[0]] == [result.label for result in results[1]]
    assert [result.score for result in results[0]] == [result.score for result in results[1]]
    frames = [read_image(path) for name in taught for path in (example_parts / "line" / name).iterdir()]
    scores = []
    for which in (package, after):
        with Recognizer(which) as recognizer:
            scores.append(recognizer.infer(frames).score)
    assert (scores[0] == scores[1][:, :PARTS]).all()


def test_what_stays_has_the_same_bytes(package: Path, after: Path) -> None:
    was, now = ModelPackage.read(package), ModelPackage.read(after)
    now.check_hashes()
    assert now.manifest.labels[:PARTS] == was.manifest.labels
    for name, digest in was.manifest.files.items():
        if name != BANK_FILE:
            assert now.manifest.files[name] == digest
    old, new = load_bank(was).records, load_bank(now).records
    assert new[: len(old)].tobytes() == old.tobytes()
    np.testing.assert_array_equal(new["class"], range(PARTS + ENROLLED))


def test_a_removed_part_is_no_longer_named(after: Path, new: list[str], example_parts: Path) -> None:
    package = after.with_name("removed.partsight")
    done = partsight("enroll", after, "--remove", new[0], "--out", package)
    assert done.returncode == 0, done.stderr
    assert all(name != new[0] for result in answers(package, new[:1], example_parts) for name, _ in result.top)
