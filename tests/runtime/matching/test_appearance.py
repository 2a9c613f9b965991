import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime import FrameError, ModelPackage, PackageError, PartsightError, Recognizer
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.images.preprocessing import PreprocessSpec, Region
from partsight.runtime.matching.appearance import Appearance, appearance_of
from tests.laid import as_compared, golden, laid
from tests.tiny import SIDE_PX, solid, tiny_matching, write_tiny_package


@pytest.fixture(params=range(3))
def part(request: pytest.FixtureRequest, example_parts: Path) -> Pixels:
    names = sorted(folder.name for folder in (example_parts / "golden").iterdir())
    return golden(example_parts, names[request.param * 400])


def noisy(image: Pixels, levels: float) -> Pixels:
    noise = np.random.default_rng(0).normal(0, levels, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def seen(image: Pixels, part: Pixels) -> Appearance:
    return appearance_of(as_compared(image), as_compared(part))


def focus(image: Pixels, part: Pixels) -> float:
    ratio = seen(image, part).focus_ratio
    assert ratio is not None
    return ratio


def test_the_golden_image_itself(part: Pixels) -> None:
    assert seen(part, part) == Appearance(1.0, 0.0)


def test_blur_is_read_and_the_more_the_less(part: Pixels) -> None:
    ratios = [focus(noisy(cv2.GaussianBlur(part, (0, 0), sigma), 1.5), part) for sigma in (0.5, 1, 1.5, 2, 3)]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > 0.9
    assert 0.65 < ratios[1] < 0.9
    assert ratios[2] < 0.8
    assert ratios[4] < 0.6


def test_what_a_line_varies_is_not_taken_for_blur(part: Pixels) -> None:
    lit = np.clip(part * 0.8, 0, 255).astype(np.uint8)
    for image in (laid(part, x=0.03, y=-0.02, turn_deg=3), lit, noisy(part, 2.5)):
        assert 0.93 < focus(image, part) < 1.07
    assert 0.95 < focus(noisy(part, 6), part) < 1.2  # noise looks like detail; here it hardly does


def test_a_golden_image_that_was_blurred_itself(part: Pixels) -> None:
    assert focus(part, cv2.GaussianBlur(part, (0, 0), 2)) > 1.3


@pytest.mark.parametrize("stops", [-1, -0.5, -0.1, 0.1])
def test_exposure(part: Pixels, stops: float) -> None:
    exposed = np.clip(np.rint(part * 2.0**stops), 0, 255).astype(np.uint8)
    assert seen(exposed, part).exposure_ev == pytest.approx(stops, abs=0.02)


def test_what_is_brighter_than_white_is_read_as_white() -> None:
    assert appearance_of(solid((255, 255, 255)), solid((128, 128, 128))).exposure_ev == pytest.approx(1, abs=0.01)


def test_a_picture_without_detail_has_no_focus() -> None:
    part = np.full((40, 64, 3), 120, np.uint8)
    assert appearance_of(noisy(part, 2.5), part) == Appearance(None, pytest.approx(0, abs=0.01))


def test_black_frames(part: Pixels) -> None:
    found = seen(np.zeros_like(part), part)
    assert found.focus_ratio == 0
    assert found.exposure_ev < -6


def test_of_a_recogniser(matching_package: Path, tiny_package: Path) -> None:
    frame = solid((128, 0, 0))
    with Recognizer(matching_package) as recognizer:
        assert recognizer.appearance(frame, "blue") == Appearance(None, pytest.approx(-1, abs=0.02))
        assert (recognizer.golden_image("blue") == solid("blue", SIDE_PX, SIDE_PX)).all()
        with pytest.raises(ValueError, match="'black'"):
            recognizer.appearance(frame, "black")
        with pytest.raises(FrameError):
            recognizer.appearance(frame[:, :, 0].copy(), "blue")
    with pytest.raises(PartsightError):
        recognizer.appearance(frame, "blue")
    for recognizer in (Recognizer(matching_package, matching=False), Recognizer(tiny_package)):
        assert recognizer.appearance(frame, "blue") is None
        assert recognizer.golden_image("blue") is None
        recognizer.close()


def test_frames_are_cropped_as_for_recognition_and_golden_images_are_not(tmp_path: Path) -> None:
    preprocess = PreprocessSpec(height=SIDE_PX, width=SIDE_PX, region=Region(x=8, y=8, width=32, height=32))
    package = write_tiny_package(tmp_path / "r.partsight", preprocess=preprocess, matching=tiny_matching())
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[8:40, 8:40] = (255, 0, 0)
    with Recognizer(package) as recognizer:
        assert recognizer.appearance(frame, "blue") == Appearance(None, 0.0)


def test_it_keeps_no_golden_image_in_memory(matching_package: Path, tmp_path: Path) -> None:
    package = Path(shutil.copytree(matching_package, tmp_path / "copy.partsight"))
    (name, *_) = ModelPackage.read(package).manifest.matching.references  # type: ignore[union-attr]
    with Recognizer(package) as recognizer:
        recognizer.appearance(solid("blue"), "blue")
        (package / name).write_bytes(b"altered")
        with pytest.raises(PackageError, match=re.escape(name)):
            recognizer.appearance(solid("blue"), "blue")
