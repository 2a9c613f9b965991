"""The picture of a result: the same place of both panels shows the same place of the part."""

import cv2
import numpy as np
import pytest

from partsight.runtime import Pixels
from partsight.runtime.images import Region
from partsight.runtime.matching.layout import Grid
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.poses import PartPose, Poses
from partsight.runtime.page.live.picture import PANEL_HW, affine_of, draw_picture, is_drawable, lay_over_frame

GOLDEN_HW = 36, 48
POSES = [
    PartPose(0.0, 0.0, 0.0, 0.0, 0.0),
    PartPose(0.1, -0.05, 0.0, 0.0, 0.0),
    PartPose(0.02, 0.03, 5.0, 0.0, 0.0),
    PartPose(-0.04, 0.02, -3.0, 0.03, -0.02),
]


def places(pose: PartPose) -> np.ndarray:
    """Return the places in the frame of all pixels of a golden image, by the comparison, (pixels, 2) x and y."""
    ops = ArrayOperations()
    values = (pose.shift_x, pose.shift_y, np.radians(pose.turn_deg), pose.shear, pose.stretch)
    poses = Poses(*(np.array([[value]], np.float32) for value in values))
    found = poses.places(Grid.whole(GOLDEN_HW, 1), ops)
    x = found.x_of_column[0, 0][None, :] + found.x_of_row[0, 0][:, None]
    y = found.y_of_column[0, 0][None, :] + found.y_of_row[0, 0][:, None]
    return np.stack([x, y], -1).reshape(-1, 2)


@pytest.mark.parametrize("pose", POSES)
def test_a_golden_image_lies_where_the_comparison_saw_it(pose: PartPose) -> None:
    rows, columns = np.mgrid[: GOLDEN_HW[0], : GOLDEN_HW[1]]
    pixels = np.stack([columns, rows, np.ones_like(rows)], -1).reshape(-1, 3)
    np.testing.assert_allclose(pixels @ affine_of(pose, GOLDEN_HW).T, places(pose), atol=1e-3)


def test_a_golden_image_is_as_large_as_its_frame() -> None:
    golden = np.zeros((*GOLDEN_HW, 3), np.uint8)
    golden[:, 24:] = 255
    laid = lay_over_frame(golden, PartPose(0.25, 0.0, 0.0, 0.0, 0.0), (72, 96))
    assert laid.shape == (72, 96, 3)
    assert laid[:, :70].max() == 0
    assert laid[:, 74:].min() == 255


def test_the_edge_of_a_golden_image_is_repeated() -> None:
    golden = np.full((*GOLDEN_HW, 3), 90, np.uint8)
    assert (lay_over_frame(golden, PartPose(0.3, 0.3, 8.0, 0.0, 0.0), (100, 100)) == 90).all()


@pytest.mark.parametrize("shape", [(36, 48, 3), (2100, 2500, 3), (2047, 1, 3), (1, 5000), (719, 1281)])
def test_a_frame_of_any_size_fits_its_panel(shape: tuple[int, ...]) -> None:
    assert draw_picture(np.zeros(shape, np.uint8), None, None, None)[:2] == b"\xff\xd8"


def test_a_large_frame_keeps_its_places() -> None:
    frame = np.zeros((1071, 1428, 3), np.uint8)
    frame[:, 714:] = 255
    panel = decode(draw_picture(frame, None, None, None))[:, : PANEL_HW[1]]
    assert panel[100:-100, : PANEL_HW[1] // 2 - 4].max() < 20
    assert panel[100:-100, PANEL_HW[1] // 2 + 4 :].min() > 235


def test_the_region_is_shown_and_a_frame_without_it_as_a_whole() -> None:
    frame = np.zeros((60, 80, 3), np.uint8)
    frame[20:50, 30:70] = 255
    inside = decode(draw_picture(frame, Region(30, 20, 40, 30), None, None))[:, : PANEL_HW[1]]
    assert inside.min() > 200
    assert decode(draw_picture(frame, Region(30, 20, 400, 300), None, None))[:, : PANEL_HW[1]].min() < 50


def test_what_is_no_picture() -> None:
    assert is_drawable(np.zeros((2, 2), np.uint8))
    assert not is_drawable(np.zeros((2, 2, 1), np.uint8))
    assert not is_drawable(None)


def decode(jpeg: bytes) -> Pixels:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)
