"""Image files as a camera."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from partsight.runtime.cameras.camera import CameraOptions, Frame
from partsight.runtime.cameras.pace import FilePace
from partsight.runtime.core import CameraError, CameraLostError, ImageError, ProcessBound
from partsight.runtime.images import READ_FORMATS, Listing, list_images, read_image

_MAX_SHOWN = 20


def find_images(folder: str | Path) -> list[Path]:
    """Return the image files of a folder and its subfolders, in the order of their paths.

    Raises:
        CameraError: there is no such folder, it is unreadable, or holds no image.
        ImageError: entries of the folder may be images and cannot be used; the message names them.
    """
    listing = _list(Path(folder))
    if listing.faults:
        lines = [f"{path}: {cause}" for path, cause in listing.faults.items()]
        more = [f"and {len(lines) - _MAX_SHOWN} more"] if len(lines) > _MAX_SHOWN else []
        raise ImageError("\n  ".join([f"{folder}: {len(lines)} to fix in the folder", *lines[:_MAX_SHOWN], *more]))
    return list(listing.images)


def _list(folder: Path) -> Listing:
    try:
        if not folder.is_dir():
            raise CameraError(f"{folder}: there is no such folder")
        listing = list_images(folder)
    except OSError as error:
        raise CameraError(f"{folder}: cannot be read ({error.strerror or error}); make it readable") from error
    if not listing.entries:
        raise CameraError(f"{folder}: holds no image; expected image files: {', '.join(READ_FORMATS)}")
    return listing


def check_address(folder: str, options: CameraOptions) -> None:
    """Refuse options other than `fps`.

    Raises:
        CameraError: one is set.
    """
    options.check_supported(f"folder:{folder}", frozenset({"fps"}))


def open_address(folder: str, options: CameraOptions) -> "FileCamera":
    """Open the images of a folder and its subfolders. An entry that cannot be used is an error when its turn comes.

    Raises:
        CameraError: there is no such folder, it is unreadable or holds no image, or an option other than `fps` is set.
    """
    check_address(folder, options)
    listing = _list(Path(folder))
    return FileCamera(listing.entries, options.fps, listing.faults)


class FileCamera(ProcessBound, unusable=CameraLostError):
    """Delivers image files once, in the order given."""

    ends = True

    def __init__(
        self, paths: Sequence[str | Path], fps: float | None = None, faults: Mapping[Path, str] | None = None
    ) -> None:
        """Take the files; `read` reads each when its turn comes.

        Args:
            paths: Paths of the files.
            fps: Files a second; None for as fast as the line reads them.
            faults: Causes of unusable files, by path; `read` raises an error with the cause.

        Raises:
            TypeError: `paths` is a single path.
        """
        if isinstance(paths, str | Path):  # its letters would count as files
            raise TypeError(f"paths is {str(paths)!r}; expected a list of paths, or open_camera('folder:PATH')")
        self.paths = tuple(Path(path) for path in paths)
        self.faults = dict(faults or {})
        self.source = ""  # the file that `read` tried last
        self._next = 0
        self._pace = FilePace(fps)
        self._closed = False

    def read(self) -> Frame | None:
        """Return the next image, or None after the last.

        Raises:
            ImageError: this file cannot be used; the next call goes on with the file after it.
            CameraLostError: the camera is closed.
        """
        if self._next < len(self.paths):
            self._pace.wait()
        if self._closed:
            raise CameraLostError("the folder's camera was closed; open it again")
        if self._next == len(self.paths):
            return None
        sequence, self._next = self._next, self._next + 1
        path = self.paths[sequence]
        self.source = str(path)
        if path in self.faults:
            raise ImageError(f"{path}: {self.faults[path]}")
        return Frame(read_image(path), self.source, sequence, time.time())

    def close(self) -> None:
        """End reading; no file is open between reads. May be called twice."""
        self._closed = True
        self._pace.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
