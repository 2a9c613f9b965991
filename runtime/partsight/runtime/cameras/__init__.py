"""Cameras: where frames come from."""

from partsight.runtime.cameras.camera import Camera, Frame
from partsight.runtime.cameras.files import FileCamera, find_images
from partsight.runtime.errors import CameraError

__all__ = ["Camera", "FileCamera", "Frame", "open_camera"]


def open_camera(address: str) -> Camera:
    """Open the camera at an address.

    Args:
        address: `folder:PATH` for the images in a folder and its subfolders.

    Raises:
        CameraError: no camera is known for the address, or it cannot be opened.
    """
    scheme, _, rest = address.partition(":")
    if scheme == "folder" and rest:
        return FileCamera(find_images(rest))
    raise CameraError(f"camera {address!r} is not known; expected folder:PATH")
