import numpy as np
import pytest

from partsight.runtime.cameras.pixels import FORMAT_BY_CODE, format_of_code, to_frame
from partsight.runtime.core.errors import CameraError, PartialFrameError

RED_BGR = [0, 0, 255]


def red(name: str) -> np.ndarray:
    """Return 8×6 red pixels as a camera sends them."""
    if name.startswith("Bayer"):
        raw = np.zeros((6, 8), np.uint8)
        row, column = {"RG": (0, 0), "GR": (0, 1), "GB": (1, 0), "BG": (1, 1)}[name[5:7]]
        raw[row::2, column::2] = 255
        return raw
    pixel = {"RGB8": [255, 0, 0], "BGR8": [0, 0, 255], "RGBa8": [255, 0, 0, 9], "BGRa8": [0, 0, 255, 9]}[name]
    return np.tile(np.array(pixel, np.uint8), (6, 8, 1))


@pytest.mark.parametrize("name", sorted(set(FORMAT_BY_CODE.values()) - {"Mono8"}))
def test_red_stays_red(name: str) -> None:
    image = to_frame(red(name), (8, 6), 0, name, "camera")
    assert image.shape == (6, 8, 3)
    assert image[3, 4].tolist() == RED_BGR
    assert image.flags.c_contiguous


def test_the_picture_is_a_copy() -> None:
    data = np.ones(12, np.uint8)
    image = to_frame(data, (4, 3), 0, "Mono8", "camera")
    assert not np.shares_memory(image, data)
    assert image.flags.writeable


def test_mono_with_padded_lines() -> None:
    data = np.arange(30, dtype=np.uint8)
    image = to_frame(data, (4, 3), 2, "Mono8", "camera")
    data[:] = 0  # the device writes the next frame
    assert image.tolist() == [[0, 1, 2, 3], [6, 7, 8, 9], [12, 13, 14, 15]]


def test_too_few_bytes() -> None:
    with pytest.raises(PartialFrameError, match=r"11.*12.*4×3.*Mono8"):
        to_frame(np.zeros(11, np.uint8), (4, 3), 0, "Mono8", "camera")


def test_what_is_not_known() -> None:
    assert format_of_code(0x01080009) == "BayerRG8"
    with pytest.raises(CameraError, match=r"0x01100007.*BGR8"):
        to_frame(np.zeros(24, np.uint8), (4, 3), 0, format_of_code(0x01100007), "camera")
