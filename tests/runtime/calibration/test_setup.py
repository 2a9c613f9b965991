import cv2
import numpy as np
import pytest

from partsight.runtime.calibration.setup import Setup
from partsight.runtime.core.arrays import Pixels

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def blob(radius_px: int) -> Pixels:
    picture = np.zeros((101, 101), np.uint8)
    return np.asarray(cv2.circle(picture, (50, 50), radius_px, (200,), -1), np.uint8)


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("turn_deg", TURNS)
def test_a_turn_in_software_is_undone_to_the_pixel(turn_deg: int, is_mirrored: bool) -> None:
    picture = np.ascontiguousarray(PICTURE[:, ::-1]) if is_mirrored else PICTURE
    frame = np.asarray(cv2.rotate(picture, TURNS[turn_deg]))
    setup = Setup(is_mirrored=is_mirrored, turn_deg=turn_deg)
    np.testing.assert_array_equal(setup.undo(frame, is_tall_for_wide=True), PICTURE)


def test_a_turned_camera_sends_frames_of_the_same_size() -> None:
    frame = Setup(turn_deg=90).undo(PICTURE)
    assert frame.shape == PICTURE.shape
    turned = np.asarray(cv2.rotate(PICTURE, cv2.ROTATE_90_COUNTERCLOCKWISE))
    np.testing.assert_array_equal(frame[:, 10:50], turned[10:50])


def test_channels_mirror_and_nothing() -> None:
    np.testing.assert_array_equal(Setup(is_rgb=True).undo(PICTURE), PICTURE[..., ::-1])
    np.testing.assert_array_equal(Setup(is_mirrored=True).undo(PICTURE), PICTURE[:, ::-1])
    np.testing.assert_array_equal(Setup(is_mirrored=True, turn_deg=180).undo(PICTURE), PICTURE[::-1])
    np.testing.assert_array_equal(Setup().undo(PICTURE), PICTURE)
    grey = np.ascontiguousarray(PICTURE[..., 0])
    np.testing.assert_array_equal(Setup(is_rgb=True).undo(grey), grey)


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_more_scale_is_a_nearer_camera(scale: float) -> None:
    """The setup shrinks a frame whose part is larger, and enlarges one whose part is smaller."""
    frame = blob(round(20 * scale))
    undone = Setup(scale=scale).undo(frame)
    assert (undone > 100).sum() == pytest.approx((blob(20) > 100).sum(), rel=0.08)
    words = Setup(scale=scale).describe()
    assert (f"scale {scale:.2f}" in words) and ("nearer" in words) == (scale > 1)


def test_more_light_is_a_brighter_frame() -> None:
    assert Setup(light_ev=1.0).undo(np.full((2, 2), 200, np.uint8)).tolist() == [[100, 100]] * 2
    assert Setup(light_ev=-1.0).undo(np.full((2, 2), 200, np.uint8)).tolist() == [[255, 255]] * 2


def test_each_difference_is_named() -> None:
    words = Setup(is_rgb=True, is_mirrored=True, turn_deg=270, scale=0.9, light_ev=-1.0).describe()
    for datum in ("BGR8", "ReverseX", "90°", "scale 0.90", "-1.0 EV"):
        assert datum in words
    assert "ReverseY" in Setup(is_mirrored=True, turn_deg=180).describe()
    assert "180°" in Setup(turn_deg=180).describe()
