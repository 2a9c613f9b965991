"""Where frames come from: one module a kind of camera, opened by its address.

May import `core` and `images`.
"""

import os
from collections.abc import Callable
from importlib import import_module
from typing import cast

from partsight.runtime.cameras.address import without_credentials
from partsight.runtime.cameras.camera import Camera, CameraOptions, Frame
from partsight.runtime.cameras.files import FileCamera, find_images
from partsight.runtime.core import CameraError

__all__ = [
    "SCHEMES",
    "Camera",
    "CameraOptions",
    "FileCamera",
    "Frame",
    "check_address",
    "find_images",
    "open_camera",
    "without_credentials",
]

Opener = Callable[[str, CameraOptions], Camera]
Checker = Callable[[str, CameraOptions], None]

_OPENERS = {
    "folder": ("files:open_folder", "PATH"),
    "video": ("video:open_video", "PATH"),
    "usb": ("usb:open_usb", "N"),
    "genicam": ("genicam:open_genicam", "CTI_PATH#DEVICE_ID"),
    "basler": ("basler:open_basler", "SERIAL"),
    "gige": ("gige:open_gige", "IP_OR_ID"),
    "rtsp": ("rtsp:open_stream", "rtsp://HOST/PATH"),
    "http": ("rtsp:open_stream", "http://HOST/PATH"),
}
"""Scheme to the module and function that opens it, imported when it is asked for, and what follows the scheme.

Where what can be opened, or set, can be told without looking for a camera, a function `check_...` is beside it.
"""


SCHEMES = frozenset(_OPENERS)
"""What an address of a camera begins with, before the colon."""


def open_camera(address: str, options: CameraOptions | None = None) -> Camera:
    """Open the camera at an address.

    Args:
        address: scheme and place, as `folder:PATH`; `docs/cameras.md` lists them all.
        options: what to set at it; a camera that cannot do as told is not opened.

    Raises:
        CameraError: no camera is known for the address, it cannot be opened, or did not take an option.
        DependencyError: the library that it needs is not installed.
    """
    opener, _, place = _find(address)
    return opener(place, options or CameraOptions())


def check_address(address: str, options: CameraOptions | None = None) -> None:
    """Refuse what no camera can ever be opened at, or set, without looking for the camera.

    Raises:
        CameraError: the address is of no camera that is known, or one of its kind cannot do as told.
    """
    _, check, place = _find(address)
    if check is not None:
        check(place, options or CameraOptions())


def _find(address: str) -> tuple[Opener, Checker | None, str]:
    """Return what opens and what checks a camera, and the place that they take.

    Raises:
        CameraError: no camera is known for the address.
    """
    address = str(address)  # of a number or a path, to which the error below names the address
    scheme, _, place = address.partition(":")
    if scheme not in _OPENERS or not place or (_is_network(scheme) and not place.startswith("//")):
        expected = _meant(address) or _known()
        raise CameraError(f"camera {without_credentials(address)!r} is not known; expected {expected}")
    module_name, _, function = _OPENERS[scheme][0].partition(":")
    module = import_module(f"partsight.runtime.cameras.{module_name}")
    check = getattr(module, function.replace("open_", "check_"), None)
    return cast(Opener, getattr(module, function)), check, address if _is_network(scheme) else place


def _is_network(scheme: str) -> bool:
    """Tell cameras whose whole address is theirs from those that take what follows the scheme."""
    return "://" in _OPENERS[scheme][1]


def _meant(address: str) -> str:
    """Return the address that somebody most likely means by a path or a number alone; else an empty text."""
    if os.path.isdir(address):  # noqa: PTH112 (Path.is_dir raises where it may not look)
        return f"folder:{address}"
    if address.isascii() and address.isdecimal():
        return f"usb:{address}"
    if os.path.isfile(address):  # noqa: PTH113
        return f"video:{address}, or folder:PATH for images"
    return ""


def _known() -> str:
    forms = [form if "://" in form else f"{scheme}:{form}" for scheme, (_, form) in _OPENERS.items()]
    return " or ".join(", ".join(forms).rsplit(", ", 1))
