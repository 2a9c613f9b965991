"""Pictures of an explanation: what a browser lays over each other."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime import Recognizer
from partsight.runtime.page.why.overlay_pictures import difference_layer, jpeg_of, pictures_of
from tests.tiny import ONE_THREAD, SIDE_PX, solid

KINDS = {"best-golden.jpg", "best-laid.jpg", "best-difference.png"}


def decoded(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return np.asarray(image)


def test_the_difference_is_clear_where_pictures_agree_and_red_where_they_do_not() -> None:
    layer = difference_layer(np.array([[0.0, 0.5, 1.2, 4.0, 100.0]], np.float32))
    assert (layer.shape, layer.dtype) == ((1, 5, 4), np.uint8)
    assert layer[0, :, 3].tolist() == [0, 0, 255, 255, 255]
    blue, green, red, _ = layer[0, 3].tolist()
    assert red > 200
    assert max(blue, green) < 50
    assert layer[0, 4, 2] < layer[0, 3, 2]  # darker still


def test_pictures_of_an_answer(matching_package: Path) -> None:
    with Recognizer(matching_package, engine=ONE_THREAD) as recognizer:
        explanation = recognizer.explain(solid("red"))
    pictures = pictures_of(explanation, solid("red"))
    assert set(pictures) >= {"frame.jpg"} | KINDS
    sizes = {name: decoded(pictures[name]).shape for name in KINDS}
    assert set(sizes.values()) == {(SIDE_PX, SIDE_PX, 3), (SIDE_PX, SIDE_PX, 4)}
    assert decoded(pictures["frame.jpg"]).shape == (48, 64, 3)
    blue, green, red = decoded(pictures["best-golden.jpg"])[18, 18].tolist()
    assert red > 200
    assert max(blue, green) < 50


def test_the_networks_score_alone_has_no_overlay(matching_package: Path) -> None:
    with Recognizer(matching_package, engine=ONE_THREAD, matching=False) as recognizer:
        assert set(pictures_of(recognizer.explain(solid("red")), solid("red"))) == {"frame.jpg"}


@pytest.mark.parametrize("shape", [(3000, 40, 3), (40, 3000), (1, 1, 3)])
def test_a_large_picture_becomes_smaller(shape: tuple[int, ...]) -> None:
    picture = decoded(jpeg_of(np.zeros(shape, np.uint8), 300))
    assert max(picture.shape[:2]) == min(300, max(shape[:2]))
    assert picture.ndim == len(shape)


@pytest.mark.parametrize(
    "frame", [np.zeros((9, 9, 3), np.float32), np.zeros((0, 9, 3), np.uint8), np.zeros(9, np.uint8)]
)
def test_a_frame_that_is_no_picture_has_no_file(frame: np.ndarray) -> None:
    assert pictures_of(None, frame) == {}
