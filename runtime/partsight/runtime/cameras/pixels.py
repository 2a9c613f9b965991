"""Pixel formats of machine vision cameras, turned into those of a frame."""

import cv2
import numpy as np

from partsight.runtime.core import CameraError, PartialFrameError, Pixels

FORMAT_BY_CODE = {
    0x01080001: "Mono8",
    0x01080008: "BayerGR8",
    0x01080009: "BayerRG8",
    0x0108000A: "BayerGB8",
    0x0108000B: "BayerBG8",
    0x02180014: "RGB8",
    0x02180015: "BGR8",
    0x02200016: "RGBa8",
    0x02200017: "BGRa8",
}
"""By the codes of the Pixel Format Naming Convention (PFNC) of GenICam."""

_CHANNELS = {"RGB8": 3, "BGR8": 3, "RGBa8": 4, "BGRa8": 4}

_CONVERSIONS = {
    "RGB8": cv2.COLOR_RGB2BGR,
    "RGBa8": cv2.COLOR_RGBA2BGR,
    "BGRa8": cv2.COLOR_BGRA2BGR,
    # Named after the first two pixels of the first row; OpenCV's older names are of the second row's.
    "BayerRG8": cv2.COLOR_BayerRGGB2BGR,
    "BayerGR8": cv2.COLOR_BayerGRBG2BGR,
    "BayerGB8": cv2.COLOR_BayerGBRG2BGR,
    "BayerBG8": cv2.COLOR_BayerBGGR2BGR,
}


def format_of_code(code: int) -> str:
    """Return the name of a PFNC code; of an unknown code, the code itself as text."""
    return FORMAT_BY_CODE.get(code & 0xFFFFFFFF, f"0x{code & 0xFFFFFFFF:08X}")


def check_format(name: str, source: str) -> None:
    """Refuse a pixel format that `to_frame` cannot convert.

    Raises:
        CameraError: the format is not in `FORMAT_BY_CODE`.
    """
    known = set(FORMAT_BY_CODE.values())
    if name not in known:
        raise CameraError(
            f"{source}: sends pixel format {name}; expected one of {', '.join(sorted(known))}: set the camera's "
            "feature PixelFormat with the maker's tool"
        )


def to_frame(data: Pixels, shape: tuple[int, int], padding: int, name: str, source: str) -> Pixels:
    """Copy a buffer into a picture: (height, width) for Mono8, (height, width, 3) BGR for any other format; uint8.

    Args:
        data: Bytes of a buffer that the device will write to again; more may follow the picture.
        shape: Width and height, in pixels.
        padding: Bytes at the end of each line that do not belong to the picture.
        name: Name of the pixel format.
        source: Address for errors.

    Raises:
        CameraError: the format is not in `FORMAT_BY_CODE`.
        PartialFrameError: the buffer has fewer bytes than the picture needs.
    """
    check_format(name, source)
    (width, height), channels = shape, _CHANNELS.get(name, 1)
    line = width * channels
    stride = line + padding
    flat = data.reshape(-1)
    if flat.size < stride * height or not line * height:
        raise PartialFrameError(
            f"{source}: a buffer of {flat.size} bytes; expected {stride * height} for {width}×{height} px of {name}"
        )
    pixels = flat[: stride * height].reshape(height, stride)[:, :line]
    if channels > 1:
        pixels = pixels.reshape(height, width, channels)
    if name in _CONVERSIONS:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), _CONVERSIONS[name]), np.uint8)
    return np.array(pixels, np.uint8, order="C")
