"""Frames come in here: one module a kind of camera, opened by its address; other distributions may add kinds.

May import `core` and `images`.
"""

import os
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from partsight.runtime.cameras.address import without_credentials
from partsight.runtime.cameras.camera import Camera, CameraOptions, Frame
from partsight.runtime.cameras.files import FileCamera, find_images
from partsight.runtime.core import CameraError, load_plugin, plugin_names

__all__ = [
    "Camera",
    "CameraOptions",
    "FileCamera",
    "Frame",
    "camera_schemes",
    "check_address",
    "find_images",
    "open_camera",
    "without_credentials",
]

GROUP = "partsight.cameras"
"""Group of the entry points by which other distributions add cameras: the name is the scheme, the value a module."""

_FORMS = {
    "folder": "folder:PATH",
    "video": "video:PATH",
    "usb": "usb:N",
    "genicam": "genicam:CTI_PATH#DEVICE_ID",
    "basler": "basler:SERIAL",
    "gige": "gige:IP_OR_ID",
    "rtsp": "rtsp://HOST/PATH",
    "http": "http://HOST/PATH",
}
"""Form of the addresses by scheme."""

_MODULES = {"folder": "files", "http": "rtsp"}
"""Modules whose name is not the scheme."""


@dataclass(frozen=True)
class _Place:
    """An address that was found to be a camera's.

    Attributes:
        module: Module or object with `open_address(place, options)` and, if it can refuse an address without looking
            for the camera, `check_address(place, options)`.
        place: Text after the scheme; the whole address for rtsp: and http:.
    """

    module: Any
    place: str


def camera_schemes() -> frozenset[str]:
    """Return the schemes of all cameras: the text before the first colon of an address."""
    return frozenset({*_FORMS, *plugin_names(GROUP)})


def open_camera(address: str, options: CameraOptions | None = None) -> Camera:
    """Open the camera at an address.

    Args:
        address: Scheme and place, such as `folder:PATH`; `docs/cameras.md` lists them all.
        options: Settings for the camera; partsight does not open a camera that cannot take one of them.

    Raises:
        CameraError: partsight knows no camera for the address, cannot open it, or it did not take an option.
        DependencyError: the library that it needs is not installed.
    """
    found = _find(address)
    return cast(Camera, found.module.open_address(found.place, options or CameraOptions()))


def check_address(address: str, options: CameraOptions | None = None) -> None:
    """Refuse an address or an option that no camera of its kind can ever take, without looking for the camera.

    Raises:
        CameraError: partsight knows no camera for the address, or a camera of its kind cannot take an option.
    """
    found = _find(address)
    check = getattr(found.module, "check_address", None)
    if check is not None:
        check(found.place, options or CameraOptions())


def _find(address: str) -> _Place:
    """Return the module that opens an address.

    Raises:
        CameraError: partsight knows no camera for the address.
    """
    address = str(address)  # a number or a path gets the error below, which names the address that it stands for
    scheme, _, place = address.partition(":")
    plugin = load_plugin(GROUP, scheme, _FORMS, CameraError) if place else None
    if plugin is not None:
        return _Place(plugin, place)
    is_network = "://" in _FORMS.get(scheme, "")
    if scheme not in _FORMS or not place or (is_network and not place.startswith("//")):
        expected = _meant(address) or _known()
        raise CameraError(f"camera {without_credentials(address)!r} is not known; expected {expected}")
    module = import_module(f"partsight.runtime.cameras.{_MODULES.get(scheme, scheme)}")
    return _Place(module, address if is_network else place)


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
    forms = [*_FORMS.values(), *(f"{name}:..." for name in plugin_names(GROUP))]
    return " or ".join(", ".join(forms).rsplit(", ", 1))
