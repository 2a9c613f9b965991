"""What a controlled line varies: pose, light and sensor, within physical limits."""

import cv2
import msgspec
import numpy as np

from partsight.runtime.images import Pixels


class Variation(msgspec.Struct, frozen=True):
    """How far a frame of the line may be from the golden image. Each amount is drawn evenly from its limits.

    Attributes:
        rotation_deg: in the image plane, plus or minus.
        shift_percent: of the image's width and height, plus or minus.
        scale_percent: of the part's size, plus or minus.
        tilt_deg: out of the image plane, about both axes, plus or minus.
        exposure_percent: of the brightness, plus or minus.
        white_balance_percent: of red and of blue against green, plus or minus.
        blur_px: largest standard deviation of the blur, at 256 px image width.
        noise_levels: largest standard deviation of the noise, of 255 grey levels.
        jpeg_quality: lowest quality of the camera's compression, of 100.
    """

    rotation_deg: float = 3.0
    shift_percent: float = 3.0
    scale_percent: float = 1.0
    tilt_deg: float = 1.0
    exposure_percent: float = 8.0
    white_balance_percent: float = 2.0
    blur_px: float = 0.7
    noise_levels: float = 2.5
    jpeg_quality: int = 90


def vary(image: Pixels, variation: Variation, rng: np.random.Generator) -> Pixels:
    """Return the image as a line camera might see the part next time.

    Args:
        image: (height, width, 3) or (height, width) uint8.
        variation: how far it may be.
        rng: where the amounts are drawn from; the same state gives the same picture.
    """
    moved = _move(image, variation, rng)
    lit = _light(moved.astype(np.float32), variation, rng)
    sensed = _sense(lit, image.shape[1], variation, rng)
    quality = int(rng.integers(variation.jpeg_quality, 101))
    _, encoded = cv2.imencode(".jpg", sensed, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED), np.uint8)


def _move(image: Pixels, variation: Variation, rng: np.random.Generator) -> Pixels:
    """Rotate, shift, scale and tilt in one resampling; what comes into view repeats the border, as the tray does."""
    height, width = image.shape[:2]
    angle = np.deg2rad(_around_zero(variation.rotation_deg, rng))
    scale = 1 + _around_zero(variation.scale_percent, rng) / 100
    shift_x = _around_zero(variation.shift_percent, rng) / 100 * width
    shift_y = _around_zero(variation.shift_percent, rng) / 100 * height
    # A tilt foreshortens by its cosine and, seen by a lens several sizes away, tapers by about its sine.
    tilt_x, tilt_y = (np.deg2rad(_around_zero(variation.tilt_deg, rng)) for _ in range(2))
    taper = 0.25 / max(width, height)
    center = np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1]])
    pose = np.array(
        [
            [scale * np.cos(angle) * np.cos(tilt_y), -scale * np.sin(angle), 0],
            [scale * np.sin(angle), scale * np.cos(angle) * np.cos(tilt_x), 0],
            [np.sin(tilt_y) * taper, np.sin(tilt_x) * taper, 1],
        ]
    )
    back = np.array([[1, 0, (width - 1) / 2 + shift_x], [0, 1, (height - 1) / 2 + shift_y], [0, 0, 1]])
    moved = cv2.warpPerspective(
        image, back @ pose @ center, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


def _light(image: np.ndarray, variation: Variation, rng: np.random.Generator) -> np.ndarray:
    gain = np.full(image.shape[2:], 1 + _around_zero(variation.exposure_percent, rng) / 100, np.float32)
    if image.ndim == 3:
        gain[0] *= 1 + _around_zero(variation.white_balance_percent, rng) / 100
        gain[2] *= 1 + _around_zero(variation.white_balance_percent, rng) / 100
    return image * gain


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
