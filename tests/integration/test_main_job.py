"""The main job as a user does it: the command, from golden images to answers, on real images."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from partsight.runtime import Recognizer, read_image
from tests.integration.commands import partsight
from tests.waiting import HANG_S

INCEPTION_WEIGHTS = "PARTSIGHT_INCEPTION_WEIGHTS"


def test_line_frames_get_their_label(package: Path, catalog: Path, example_parts: Path) -> None:
    frames = [
        next((example_parts / "line" / name).iterdir()) for name in sorted(path.name for path in catalog.iterdir())
    ]
    done = partsight("run", package, *frames)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["source"] for answer in answers] == [str(frame) for frame in frames]
    right = [answer["top"][0]["label"] == frame.parent.name for answer, frame in zip(answers, frames, strict=True)]
    assert sum(right) >= 0.9 * len(right)
    # A score is how well the frame agrees with the golden image of its part, and far less with any other's.
    scores = [answer["score"] for answer, is_right in zip(answers, right, strict=True) if is_right]
    assert all(0.2 < score < 1 for score in scores)
    seconds = [answer["top"][1]["score"] for answer, is_right in zip(answers, right, strict=True) if is_right]
    assert max(seconds) < 0.5 * min(scores)


def test_golden_images_score_highest(package: Path, catalog: Path) -> None:
    with Recognizer(package) as recognizer:
        goldens = [read_image(catalog / label / "golden.jpg") for label in recognizer.labels]
        results = recognizer.recognize_batch(goldens)
    assert [result.label for result in results] == list(recognizer.labels)
    assert all(0.9 < result.score <= 1 for result in results)  # agreement: the reference is a JPEG


def test_golden_images_score_highest_on_the_network_alone(package: Path, catalog: Path) -> None:
    with Recognizer(package, matching=False) as recognizer:
        goldens = [read_image(catalog / label / "golden.jpg") for label in recognizer.labels]
        results = recognizer.recognize_batch(goldens)
    assert [result.label for result in results] == list(recognizer.labels)
    assert all(result.score > 0.999 for result in results)


def test_a_part_that_was_never_taught_is_unknown(package: Path, example_parts: Path) -> None:
    """Frames of other parts agree with no golden image well."""
    with Recognizer(package) as recognizer:
        others = sorted({path.name for path in (example_parts / "line").iterdir()} - set(recognizer.labels))
        frames = [read_image(next((example_parts / "line" / name).iterdir())) for name in others[::10]]
        results = recognizer.recognize_batch(frames)
    assert len(results) > 10
    assert sum(result.label is None for result in results) >= 0.9 * len(results)


def test_a_picture_of_answers(package: Path, example_parts: Path, tmp_path: Path) -> None:
    command = [sys.executable, example_parts.parent / "show_answers.py", package, "--out", tmp_path / "a.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_package_is_whole(package: Path) -> None:
    done = partsight("inspect", package)
    assert done.returncode == 0, done.stderr
    assert not list(package.parent.glob(".*.partial"))


@pytest.mark.long
@pytest.mark.parametrize("head", ["cosine", "dense"])
def test_inception_at_150_px(head: str, catalog: Path) -> None:
    weights = os.environ.get(INCEPTION_WEIGHTS)
    if weights is None:
        pytest.skip(f"set {INCEPTION_WEIGHTS} to the path of InceptionV3's weights without top")
    run, package = catalog.parent / f"inception_{head}", catalog.parent / f"inception_{head}.partsight"
    trained = partsight(
        "train", catalog, "--out", run, "--backbone", "InceptionV3", "--head", head, "--weights", weights
    )
    assert trained.returncode == 0, trained.stderr
    exported = partsight("export", run, "--precision", "fp32", "--out", package)
    assert exported.returncode == 0, exported.stderr
    with Recognizer(package) as recognizer:
        assert recognizer.manifest.preprocess.height == 150
