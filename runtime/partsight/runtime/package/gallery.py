"""The gallery: golden images as a package holds them, at the size at which frames are compared with them."""

import cv2
import numpy as np

from partsight.runtime.core import PackageError, Pixels
from partsight.runtime.images import has_too_many_scans, size_of

_JPEG_QUALITY = 95
_MAX_SIDE_PX = 1024


def encode_reference(image_bgr: Pixels) -> bytes:
    """Return a golden image as it lies in a package: JPEG, colour at full resolution."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        _JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    _, encoded = cv2.imencode(".jpg", image_bgr, options)
    return np.asarray(encoded, np.uint8).tobytes()


def decode_reference(data: bytes, source: str) -> Pixels:
    """Return (height, width, 3) uint8 BGR.

    Args:
        data: of `encode_reference`.
        source: where it came from, for messages.

    Raises:
        PackageError: it is not an image, or of more pixels than a reference ever has.
    """
    size_hw = size_of(data)
    if size_hw is None or has_too_many_scans(data):
        raise PackageError(f"{source}: is not an image; export the package again")
    if max(size_hw) > _MAX_SIDE_PX:
        raise PackageError(
            f"{source}: is not an image of at most {_MAX_SIDE_PX} px on a side, but of {size_hw[1]}×{size_hw[0]}; "
            "export the package again"
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise PackageError(f"{source}: is a damaged image ({error}); export the package again") from error
    if image is None or image.shape[:2] != size_hw:
        raise PackageError(f"{source}: is a damaged image; export the package again")
    return np.asarray(image, np.uint8)


def resized(image_bgr: Pixels, size_hw: tuple[int, int]) -> Pixels:
    """Return a golden image at the size at which frames are compared; an older package's may differ by some pixels."""
    if image_bgr.shape[:2] == size_hw:
        return image_bgr
    return np.asarray(cv2.resize(image_bgr, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
