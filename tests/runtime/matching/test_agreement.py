"""Differences that matter: a header with one pin more or less does, other light on it does not."""

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from partsight.runtime.core.arrays import Pixels
from partsight.runtime.matching import Bank, Matcher, MatchingSpec, prepare_all
from tests.laid import as_compared, laid
from tests.runtime.matching.headers import (
    HEADER_12,
    HEADERS,
    SPEC,
    agreement_with,
    frame_of,
    images_of,
    match_one,
    matcher_of,
)


@pytest.fixture(scope="module")
def images(example_parts: Path) -> list[Pixels]:
    return images_of(example_parts)


@pytest.fixture(scope="module")
def matcher(images: list[Pixels]) -> Matcher:
    return matcher_of(images)


def of_header(frame: Pixels, matcher: Matcher, **changes: float) -> float:
    """Agreement with the header of 12 pins."""
    if changes:
        matcher = Matcher(matcher.bank, msgspec.structs.replace(matcher.spec, **changes))
    return agreement_with(match_one(matcher, as_compared(frame)), HEADER_12)


def test_the_golden_image_itself_agrees(images: list[Pixels], matcher: Matcher) -> None:
    frames = np.stack([as_compared(image) for image in images])
    found = matcher.match(frames, np.zeros((len(images), len(HEADERS)), np.float32))
    assert found.classes[:, 0].tolist() == list(range(len(images)))
    assert (found.agreement[:, 0] > 0.9).all() and (found.agreement <= 1).all()  # the reference is a JPEG
    uncompressed = Matcher(Bank.of(prepare_all(frames, range(len(images)))), SPEC)
    assert match_one(uncompressed, frames[0]).agreement[0, 0] > found.agreement[0, 0] > 0.9


@pytest.mark.parametrize("bgr", [(0.8, 0.8, 0.8), (1.2, 1.2, 1.2), (0.9, 1, 1.1), (1.1, 1, 0.9)])
def test_brightness_and_white_balance_do_not_matter(
    images: list[Pixels], matcher: Matcher, bgr: tuple[float, float, float]
) -> None:
    image = images[HEADER_12]
    other = np.clip(image * np.array(bgr), 0, 255).astype(np.uint8)
    assert of_header(other, matcher) > of_header(image, matcher) - 0.05


def test_light_that_no_line_has_matters(images: list[Pixels], matcher: Matcher) -> None:
    for gain in (0.5, 0.6):
        assert of_header((images[HEADER_12] * gain).astype(np.uint8), matcher) < 0.4


def test_an_offset_is_not_explained(images: list[Pixels], matcher: Matcher) -> None:
    """Else a red part on a grey tray could be taken for a blue one."""
    other = np.clip(images[HEADER_12].astype(int) + 40, 0, 255).astype(np.uint8)
    assert of_header(other, matcher) < 0.5 * of_header(images[HEADER_12], matcher)


def test_noise_and_a_little_blur_hardly_matter(images: list[Pixels], matcher: Matcher) -> None:
    rng = np.random.default_rng(4)
    moved = laid(images[HEADER_12], turn_deg=2, x=0.02)
    noisy = np.clip(moved + rng.normal(0, 3, moved.shape), 0, 255).astype(np.uint8)
    for frame in (noisy, cv2.GaussianBlur(moved, (0, 0), 0.7)):
        assert of_header(frame, matcher) > 0.7


def test_another_colour_of_the_part_matters(images: list[Pixels], matcher: Matcher) -> None:
    for channel in range(3):
        image = images[HEADER_12].copy()
        body = image.max(axis=2) < 70
        assert 0.01 < body.mean() < 0.1
        image[body, channel] += 70  # black plastic becomes blue, green or red
        assert of_header(image, matcher) < of_header(images[HEADER_12], matcher) / 2


def without_the_last_pin(image: Pixels) -> Pixels:
    """The gold pin at the upper right is covered by tray."""
    covered, pin = image.copy(), np.array([[176, 62], [205, 72], [205, 88], [172, 72]])
    cv2.fillPoly(covered, [pin], image[40:60, 200:230].mean(axis=(0, 1)))
    assert 0.001 < (covered != image).any(axis=2).mean() < 0.01
    return covered


def test_a_missing_pin_matters(images: list[Pixels], matcher: Matcher) -> None:
    image = images[HEADER_12]
    for pose in ({}, {"turn_deg": -2, "x": 0.01, "y": 0.03}):
        whole = of_header(laid(image, **pose), matcher)
        assert of_header(laid(without_the_last_pin(image), **pose), matcher) < whole / 2


def test_a_spot_on_the_part_matters(images: list[Pixels], matcher: Matcher) -> None:
    image = cv2.circle(images[HEADER_12].copy(), (120, 130), 6, (240, 240, 240), -1)
    assert of_header(image, matcher) < 0.4


def test_another_size_matters_and_a_tilt_hardly(images: list[Pixels], matcher: Matcher) -> None:
    image = images[HEADER_12]
    whole = of_header(image, matcher)
    for size in (1.03, 0.97):
        assert of_header(laid(image, size=size), matcher) < 0.6 * whole
    for tilt in ({"stretch": 0.01}, {"shear": -0.01}):
        assert of_header(laid(image, **tilt), matcher) > 0.85 * whole


def test_a_great_deformation_lowers_the_agreement(images: list[Pixels], matcher: Matcher) -> None:
    """Though the pictures then meet: so does a header of another pitch."""
    for pose in ({"stretch": 0.03}, {"shear": 0.03}):
        frame = laid(images[HEADER_12], **pose)
        found = [of_header(frame, matcher, tolerance_tilt=tilt) for tilt in (100.0, 0.018, 0.005)]
        assert found[0] > found[1] + 0.02 > found[2] + 0.1


@pytest.mark.parametrize(("name", "value"), [("tolerance_levels", 1.0), ("tolerance_px", 0.05)])
def test_tolerances_are_used(images: list[Pixels], matcher: Matcher, name: str, value: float) -> None:
    frame = laid(images[HEADER_12], turn_deg=2, x=0.02, y=-0.01)
    assert of_header(frame, matcher, **{name: value}) < of_header(frame, matcher) - 0.01


def test_where_the_pictures_agree_least_counts_and_not_the_mean(matcher: Matcher) -> None:
    """A spot of the size of a pin costs about as much in an empty picture as in a full one."""
    found = []
    for side in (192, 96):
        image = np.full((side, side, 3), 120, np.uint8)
        spot = cv2.circle(image.copy(), (side // 2, side // 2), 6, (200, 200, 200), -1)
        spec = MatchingSpec(height=side, width=side)
        alone = Matcher(Bank.of(prepare_all([image], [0])), spec)
        assert match_one(alone, image).agreement[0, 0] > 0.99
        found.append(float(match_one(alone, spot).agreement[0, 0]))
    assert found[0] < 0.25 and found[1] < 0.25


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_tray_agrees_with_no_part(matcher: Matcher, level: int) -> None:
    found = match_one(matcher, np.full((192, 192, 3), level, np.uint8))
    assert 0 < found.agreement[0, 0] < 0.2
    assert np.isfinite(np.array(found.poses.values)).all()


@pytest.mark.parametrize(
    ("golden_level", "frame_level", "expected"), [(90, 90, 1), (90, 91, 1), (0, 255, 0), (0, 0, 1), (255, 0, 0)]
)
@pytest.mark.parametrize("side", [36, 192])
def test_even_pictures_give_numbers(golden_level: int, frame_level: int, expected: float, side: int) -> None:
    golden = np.full((side, side, 3), golden_level, np.uint8)
    both = Matcher(Bank.of(prepare_all([golden, golden], [0, 1])), MatchingSpec(height=side, width=side))
    found = match_one(both, np.full((side, side, 3), frame_level, np.uint8))
    assert found.agreement[0].tolist() == pytest.approx([expected, expected], abs=0.05)


@pytest.mark.parametrize("index", range(len(HEADERS)))
def test_one_pin_more_or_less_is_another_part(images: list[Pixels], matcher: Matcher, index: int) -> None:
    for turn_deg, x, y in ((2, 0.02, -0.01), (-3, -0.03, 0.03)):
        found = match_one(matcher, frame_of(images[index], turn_deg=turn_deg, x=x, y=y))
        assert found.classes[0, 0] == index
        assert found.agreement[0, 0] > 0.8
        assert found.agreement[0, 1] < 0.2
