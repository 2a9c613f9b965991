"""What people see of a comparison: the frame laid over the golden image, and the spot where both differ most."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime.core.arrays import FloatArray, Pixels
from partsight.runtime.matching import Matcher, Overlay, compare_golden_images, lay_over, worst_spots
from tests.laid import as_compared, laid
from tests.runtime.matching.headers import HEADER_12, SPEC, agreement_with, images_of, match_one, matcher_of

PIN = np.array([[176, 62], [205, 72], [205, 88], [172, 72]])  # the last pin of the header, in pixels of its file
PIN_PX = PIN.mean(axis=0) * 192 / 256


@pytest.fixture(scope="module")
def images(example_parts: Path) -> list[Pixels]:
    return images_of(example_parts)


@pytest.fixture(scope="module")
def matcher(images: list[Pixels]) -> Matcher:
    return matcher_of(images)


def overlays_of(frame: Pixels, matcher: Matcher, images: list[Pixels], count: int = 1) -> tuple[Overlay, ...]:
    matches = match_one(matcher, frame)
    goldens = [as_compared(images[index]) for index in matches.classes[0, :count].tolist()]
    return lay_over(frame, matches, goldens, matcher.bank, matcher.spec)


def distance_px(overlay: Overlay, place: FloatArray) -> float:
    return float(np.hypot(overlay.spot.x - place[0], overlay.spot.y - place[1]))


def without_the_last_pin(image: Pixels) -> Pixels:
    covered = image.copy()
    cv2.fillPoly(covered, [PIN], image[40:60, 200:230].mean(axis=(0, 1)))
    return covered


@pytest.mark.parametrize("pose", [{}, {"turn_deg": -2, "x": 0.01, "y": 0.03}, {"turn_deg": 3, "x": -0.03}])
def test_a_missing_pin_is_the_worst_spot(images: list[Pixels], matcher: Matcher, pose: dict[str, float]) -> None:
    frame = as_compared(laid(without_the_last_pin(images[HEADER_12]), **pose))
    (overlay,) = overlays_of(frame, matcher, images)
    assert overlay.class_index == HEADER_12
    assert distance_px(overlay, PIN_PX) < overlay.spot.side
    assert overlay.spot.where == "upper right"
    assert overlay.spot.tolerances > 3
    whole = overlays_of(as_compared(laid(images[HEADER_12], **pose)), matcher, images)[0]
    assert whole.spot.tolerances < 1


def test_a_spot_is_found_where_it_was_drawn(images: list[Pixels], matcher: Matcher) -> None:
    for x, y, where in ((60, 190, "lower left"), (128, 128, "centre"), (60, 60, "upper left")):
        frame = as_compared(cv2.circle(images[HEADER_12].copy(), (x, y), 7, (0, 0, 255), -1))
        (overlay,) = overlays_of(frame, matcher, images)
        assert distance_px(overlay, np.array([x, y]) * 192 / 256) < overlay.spot.side
        assert overlay.spot.where == where
        row, column = round(overlay.spot.y), round(overlay.spot.x)
        assert overlay.difference[row, column] > 3
        assert overlay.difference.shape == SPEC.size_hw and not overlay.difference[0].any()


def test_the_frame_is_laid_over_the_golden_image(images: list[Pixels], matcher: Matcher) -> None:
    """In its coordinates and its light: the frame itself differs much more."""
    image = images[HEADER_12]
    frame = as_compared(np.clip(laid(image, turn_deg=3, x=0.02) * 0.85, 0, 255).astype(np.uint8))
    (overlay,) = overlays_of(frame, matcher, images)
    golden = as_compared(image).astype(float)
    before, after = (np.abs(picture - golden)[10:-10, 10:-10].mean() for picture in (frame, overlay.laid))
    assert after < 2 < before / 5
    assert overlay.pose.turn_deg == pytest.approx(3, abs=0.1)
    assert overlay.pose.shift_x == pytest.approx(0.02, abs=0.002)
    assert (overlay.golden == as_compared(image)).all()


def test_an_overlay_has_the_numbers_of_the_comparison(images: list[Pixels], matcher: Matcher) -> None:
    frame = as_compared(laid(without_the_last_pin(images[HEADER_12]), turn_deg=1))
    matches = match_one(matcher, frame)
    for overlay in overlays_of(frame, matcher, images, 3):
        assert overlay.agreement == pytest.approx(agreement_with(matches, overlay.class_index))
        assert overlay.reference == 0
        assert overlay.pose == matches.poses.of_part(0, matches.classes[0].tolist().index(overlay.class_index))
        # The worst 1 % of the windows decide, and the spot is the worst of them; shear and stretch count, too.
        assert overlay.spot.tolerances > (1 / overlay.agreement - 1) / 4


def test_spots_alone(images: list[Pixels], matcher: Matcher) -> None:
    frame = as_compared(without_the_last_pin(images[HEADER_12]))
    matches = match_one(matcher, frame)
    spots = worst_spots(frame, matches, matcher.bank, matcher.spec)
    assert len(spots) == matches.classes.shape[1]
    assert spots[:3] == tuple(overlay.spot for overlay in overlays_of(frame, matcher, images, 3))


def test_a_further_reference_is_named(images: list[Pixels]) -> None:
    """A part of two references: the frame shows the second one's look."""
    part = [images[0], images[HEADER_12], images[2]]
    matcher = matcher_of(part, class_of=[0, 0, 1])
    frame = as_compared(images[HEADER_12])
    matches = match_one(matcher, frame)
    (overlay,) = lay_over(frame, matches, [frame], matcher.bank, matcher.spec)
    assert (overlay.class_index, overlay.reference) == (0, 1)


def test_a_size_that_is_not_square() -> None:
    """Positions count from the picture's own corner, along both sides."""
    rng = np.random.default_rng(3)
    image = cv2.GaussianBlur(rng.integers(0, 256, (96, 192, 3)).astype(np.uint8), (0, 0), 4)
    frame = cv2.circle(image.copy(), (150, 30), 6, (255, 255, 255), -1)
    matcher = matcher_of([image])
    (overlay,) = lay_over(frame, match_one(matcher, frame), [image], matcher.bank, matcher.spec)
    assert distance_px(overlay, np.array([150, 30])) < overlay.spot.side
    assert overlay.spot.where == "right"


def test_the_telling_spot_of_two_parts(images: list[Pixels]) -> None:
    golden, other = images[HEADER_12], without_the_last_pin(images[HEADER_12])
    overlay = compare_golden_images(as_compared(golden), as_compared(laid(other, x=0.02)), SPEC)
    assert distance_px(overlay, PIN_PX) < overlay.spot.side
    assert overlay.agreement < 0.4
    same = compare_golden_images(as_compared(golden), as_compared(golden), SPEC)
    assert same.agreement > 0.9 and same.spot.tolerances < 0.5


def test_even_pictures_have_a_spot() -> None:
    grey = np.full((192, 192, 3), 90, np.uint8)
    matcher = matcher_of([grey])
    (overlay,) = lay_over(grey, match_one(matcher, grey), [grey], matcher.bank, matcher.spec)
    assert overlay.spot.tolerances == pytest.approx(0, abs=0.01)
