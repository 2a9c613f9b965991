import cv2
import numpy as np
import pytest

from partsight.runtime.matching.levels import levels_of
from partsight.runtime.matching.operations import ArrayOperations

OPS = ArrayOperations()


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("size_hw", [(192, 192), (96, 192), (192, 36), (36, 36)])
def test_sizes_and_an_even_picture(size_hw: tuple[int, int]) -> None:
    levels = levels_of(np.full((2, *size_hw, 3), 50, np.uint8), OPS)
    for level, divisor in ((levels.coarse, 6), (levels.middle, 3), (levels.fine, 1)):
        pixels = OPS.pixels(level)
        assert pixels.shape == (2, size_hw[0] // divisor, size_hw[1] // divisor)
        np.testing.assert_allclose(pixels, 50, atol=1e-3)
    assert levels.colour.values.shape[3] == 4


def test_grey_is_that_of_opencv() -> None:
    """To a grey level: OpenCV rounds."""
    frame = (cv2.GaussianBlur(noise(96, 96, 3), (0, 0), 8) * np.array([1, 0.6, 0.3])).astype(np.uint8)
    middle = OPS.pixels(levels_of(frame[None], OPS).middle)[0]
    grey = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    expected = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0)
    assert np.abs(middle - expected).max() < 2


def test_colour_is_smoothed() -> None:
    frame = noise(48, 60, 3)
    levels = levels_of(frame[None], OPS)
    for channel, found in enumerate(OPS.channels(levels.colour)[:3]):
        expected = cv2.GaussianBlur(frame[:, :, channel].astype(np.float32), (0, 0), 1.3)
        assert np.abs(found - expected)[4:-4, 4:-4].max() < 10
        assert found.std() < 0.4 * frame.std()  # noise of single pixels is gone


def test_a_frame_does_not_depend_on_its_neighbours_in_the_stack() -> None:
    frames = [np.stack([np.full_like(noise(96, 96, 3), level), noise(96, 96, 3)] * 2)[1:] for level in (0, 255)]
    first, second = (levels_of(stack, OPS) for stack in frames)
    alone = levels_of(noise(96, 96, 3)[None], OPS)
    for name in ("coarse", "middle", "fine"):
        pixels = [OPS.pixels(getattr(levels, name)) for levels in (first, second, alone)]
        for index in (0, 2):
            np.testing.assert_array_equal(pixels[0][index], pixels[1][index])
            np.testing.assert_allclose(pixels[0][index], pixels[2][0], atol=1e-4)
