"""Variation: a golden image as a controlled line might show it, with another pose, light and sensor noise."""

import cv2
import msgspec
import numpy as np

from partsight.runtime.core import Pixels

_RELIEF_CELLS = 4  # across the image


class Variation(msgspec.Struct, frozen=True):
    """Largest differences between a frame of the line and the golden image. Each is drawn evenly within its limits.

    Attributes:
        rotation_deg: Turn in the image plane, plus or minus, in degrees.
        shift_percent: Shift, plus or minus, in percent of the image's width and height.
        scale_percent: Change of the part's size, plus or minus, in percent.
        tilt_deg: Tilt of the part on the tray about both horizontal axes, plus or minus, in degrees.
        view_deg: Angle between the camera's axis and the tray's normal, in degrees; 0 looks straight down. Under an
            oblique camera a tilt stretches and shears the picture; from above it hardly shows.
        parallax_percent: Movement of high features against low ones when the part turns or tilts, plus or minus, in
            percent of the image's longest side.
        exposure_percent: Change of brightness, plus or minus, in percent.
        key_light_percent: Change of the light that casts the shadows, plus or minus, in percent; dark areas change more
            than the tray.
        white_balance_percent: Change of red and of blue against green, plus or minus, in percent.
        blur_px: Largest standard deviation of the blur, in pixels of an image 256 px wide.
        noise_levels: Largest standard deviation of the noise, of 255 grey levels.
        jpeg_quality: Lowest quality of the camera's compression, of 100.
    """

    rotation_deg: float = 3.0
    shift_percent: float = 3.0
    scale_percent: float = 0.3
    tilt_deg: float = 1.5
    view_deg: float = 30.0
    parallax_percent: float = 1.23
    exposure_percent: float = 8.0
    key_light_percent: float = 10.0
    white_balance_percent: float = 2.0
    blur_px: float = 0.7
    noise_levels: float = 2.5
    jpeg_quality: int = 90


def vary(image: Pixels, variation: Variation, rng: np.random.Generator) -> Pixels:
    """Return the image as a camera of the line might show the part next time.

    Args:
        image: Golden image, (height, width, 3) or (height, width) uint8.
        variation: Largest differences.
        rng: Generator of the differences; the same state gives the same picture.
    """
    moved = _move(image, variation, rng)
    lit = _light(moved.astype(np.float32), variation, rng)
    sensed = _sense(lit, image.shape[1], variation, rng)
    quality = int(rng.integers(variation.jpeg_quality, 101))
    _, encoded = cv2.imencode(".jpg", sensed, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED), np.uint8)


def _move(image: Pixels, variation: Variation, rng: np.random.Generator) -> Pixels:
    """Rotate, shift, scale and tilt in one resampling; areas that come into view repeat the border, like the tray."""
    height, width = image.shape[:2]
    angle = np.deg2rad(_around_zero(variation.rotation_deg, rng))
    scale = 1 + _around_zero(variation.scale_percent, rng) / 100
    shift_x = _around_zero(variation.shift_percent, rng) / 100 * width
    shift_y = _around_zero(variation.shift_percent, rng) / 100 * height
    # To first order, a tilt stretches the picture of a plane along the view and shears it across the view.
    oblique = np.tan(np.deg2rad(variation.view_deg))
    stretch, shear = (oblique * np.tan(np.deg2rad(_around_zero(variation.tilt_deg, rng))) for _ in range(2))
    center = np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1]])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    pose = np.eye(3)
    pose[:2, :2] = turn @ np.array([[1, shear], [0, 1 + stretch]])
    back = np.array([[1, 0, (width - 1) / 2 + shift_x], [0, 1, (height - 1) / 2 + shift_y], [0, 0, 1]])
    matrix = np.linalg.inv(back @ pose @ center)
    down, right = np.mgrid[0:height, 0:width].astype(np.float32)
    from_x, from_y = (row[0] * right + row[1] * down + row[2] for row in matrix[:2])
    reach = variation.parallax_percent / 100 * max(width, height)
    from_x, from_y = (places + _parallax(image.shape, reach, rng) for places in (from_x, from_y))
    moved = cv2.remap(
        image,
        from_x.astype(np.float32),
        from_y.astype(np.float32),
        interpolation=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(moved, np.uint8)


def _parallax(shape: tuple[int, ...], reach: float, rng: np.random.Generator) -> np.ndarray:
    """Return a smooth field of shifts, (height, width) in pixels: the part's heights are unknown, so they are drawn."""
    reach = _around_zero(reach, rng)
    heights = rng.uniform(-1, 1, (_RELIEF_CELLS, _RELIEF_CELLS)).astype(np.float32)
    return reach * np.asarray(cv2.resize(heights, shape[1::-1], interpolation=cv2.INTER_CUBIC))


def _light(image: np.ndarray, variation: Variation, rng: np.random.Generator) -> np.ndarray:
    gain = np.full(image.shape[2:], 1 + _around_zero(variation.exposure_percent, rng) / 100, np.float32)
    if image.ndim == 3:
        gain[0] *= 1 + _around_zero(variation.white_balance_percent, rng) / 100
        gain[2] *= 1 + _around_zero(variation.white_balance_percent, rng) / 100
    # Most pixels show the tray, in the key light. Darker pixels are partly in shadow, where only the fill light is.
    shade = np.clip(1 - image / max(float(np.median(image)), 1.0), 0, 1)
    key_light = _around_zero(variation.key_light_percent, rng) / 100
    return np.asarray(image * gain * (1 - key_light * shade))


def _sense(image: np.ndarray, width: int, variation: Variation, rng: np.random.Generator) -> Pixels:
    sigma = rng.uniform(0, variation.blur_px) * width / 256
    if sigma > 0.2:  # a narrower kernel is the identity
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(0, variation.noise_levels)
    # Shot noise grows with the square root of the light.
    noisy = image + noise * np.sqrt(np.clip(image, 0, 255) / 128)
    sensed: Pixels = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return sensed


def _around_zero(limit: float, rng: np.random.Generator) -> float:
    return float(rng.uniform(-limit, limit))
