"""Image files as a camera."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from partsight.runtime.cameras.camera import CameraOptions, Frame
from partsight.runtime.errors import CameraError, CameraLostError
from partsight.runtime.images import IMAGE_SUFFIXES, read_image


def find_images(folder: str | Path) -> list[Path]:
    """Return the image files of a folder and its subfolders, in the order of their paths.

    Raises:
        CameraError: there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CameraError(f"{folder}: there is no such folder")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not paths:
        raise CameraError(f"{folder}: holds no image; expected files ending in {' '.join(sorted(IMAGE_SUFFIXES))}")
    return paths


def check_folder(folder: str, options: CameraOptions) -> None:
    """Refuse options, of which files take none.

    Raises:
        CameraError: one is set.
    """
    options.check_supported(f"folder:{folder}", frozenset())


def open_folder(folder: str, options: CameraOptions) -> "FileCamera":
    """Open the images of a folder and its subfolders.

    Raises:
        CameraError: there is no such folder, no image in it, or an option is set.
    """
    check_folder(folder, options)
    return FileCamera(find_images(folder))


class FileCamera:
    """Delivers image files once, in the order given."""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        """Take the files; each is read when its turn comes."""
        self.paths = tuple(Path(path) for path in paths)
        self.source = ""  # the file that was asked for last
        self._next = 0
        self._closed = False

    def read(self) -> Frame | None:
        """Return the next image, or None after the last.

        Raises:
            ImageError: this file cannot be used; the next call goes on with the file after it.
            CameraLostError: the camera was closed.
        """
        if self._closed:
            raise CameraLostError("the folder's camera was closed; open it again")
        if self._next == len(self.paths):
            return None
        sequence, self._next = self._next, self._next + 1
        path = self.paths[sequence]
        self.source = str(path)
        return Frame(read_image(path), self.source, sequence, time.time())

    def close(self) -> None:
        """End reading; nothing is held open between reads. May be called twice."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
