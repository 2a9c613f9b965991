"""Image files: the one reader, for golden images and for frames from a folder."""

import contextlib
import io
import stat
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, overload

import cv2
import numpy as np

from partsight.runtime.core import ImageError, Pixels
from partsight.runtime.images.file_fault import DEPTH, EXPECTED, FLATTEN, ONE_PICTURE, find_fault, is_smaller_jpeg
from partsight.runtime.images.header import READ_FORMATS, format_of

if TYPE_CHECKING:
    from PIL import Image


MIN_SIDE_PX = 32
MAX_PIXELS = 80_000_000

_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
"""Formats that Pillow may read. It knows others that are dangerous: an EPS file is a program, run by Ghostscript."""

_NAMES = {"BMP": "BMP", "JPEG": "JPEG", "MPO": "JPEG", "PNG": "PNG", "TIFF": "TIFF", "WEBP": "WebP"}
"""Names of formats in `READ_FORMATS`, by Pillow's names; MPO is a JPEG with an index of further pictures."""

_MPO_ENTRIES = 0xB002
_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1"

_BLOCK_PX = 2**20

_FIX_BY_MODE = {
    "RGBA": FLATTEN,
    "LA": FLATTEN,
    "CMYK": "convert it to RGB",
    "P": "convert its palette to RGB",
    "1": "save it with 8 bits a pixel",
}


def read_image(path: str | Path) -> Pixels:
    """Read an image file as a frame of a camera.

    A truncated file is an error, never a picture with a grey lower half. The EXIF orientation is applied. Previews and
    gain maps that phones put into a photo are ignored. Reading takes up to 10 bytes of memory for each pixel.

    Args:
        path: Path of a BMP, JPEG, PNG, TIFF or WebP file.

    Returns:
        Pixels, contiguous: (height, width, 3) uint8 BGR of a colour file, (height, width) uint8 of a grey one.

    Raises:
        ImageError: the file is missing, not an image, damaged, smaller than 32 px on a side, larger than
            80 megapixels, not 8-bit RGB or grey, has a transparent colour, or holds several pictures.
    """
    path = Path(path)
    return _read(lambda: _open(path), str(path))


def decode_image(data: bytes, name: str) -> Pixels:
    """Read the bytes of an image file, as `read_image` reads a file: a member of an archive, or a client's frame.

    Args:
        data: Bytes of a BMP, JPEG, PNG, TIFF or WebP file.
        name: Name of their origin, for messages.

    Returns:
        Pixels as of `read_image`.

    Raises:
        ImageError: As `read_image`.
    """
    return _read(lambda: io.BytesIO(data), name)


def _read(open_file: Callable[[], BinaryIO], name: str) -> Pixels:
    # A local import: frames of a camera need no Pillow, and a line that restarts waits for each import.
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415

    try:
        with open_file() as file:
            try:
                image = Image.open(file, formats=_FORMATS)
            except UnidentifiedImageError as error:
                raise ImageError(f"{name}: {_unidentified(file)}") from error
            with image:
                _check_size(image, name)
                _check_mode(image, name)
                _check_file(image, file, name)
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return _pixels(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name}: {_too_large()}") from error
    except ImageError:
        raise
    except Exception as error:  # Pillow raises nearly any kind for damaged bytes, TypeError too
        raise ImageError(
            f"{name}: damaged or unreadable ({error}); copy it again from its source, or take the picture again"
        ) from error


def _open(path: Path) -> BinaryIO:
    """Open a regular file for reading; a pipe would wait forever."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.open("rb")
    except PermissionError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); make it readable for this user") from error
    except FileNotFoundError as error:
        if path.is_symlink():
            raise ImageError(f"{path}: a link to a missing file; correct or remove the link") from error
        raise ImageError(f"{path}: there is no such file; name an image file") from error
    if stat.S_ISDIR(mode):
        raise ImageError(f"{path}: a folder; expected an image file: name the files in it")
    raise ImageError(f"{path}: a pipe, socket or device; expected an image file: copy the picture to a file")


def _pixels(image: "Image.Image") -> Pixels:
    """Copy Pillow's pixels block by block; a copy of the whole picture would take three times the memory."""
    width, height = image.size
    is_grey = image.mode == "L"
    pixels = np.empty((height, width) if is_grey else (height, width, 3), np.uint8)
    rows = max(1, _BLOCK_PX // width)
    for top in range(0, height, rows):
        block = np.asarray(image.crop((0, top, width, min(height, top + rows))))
        if is_grey:
            pixels[top : top + rows] = block
        else:
            cv2.cvtColor(block, cv2.COLOR_RGB2BGR, dst=pixels[top : top + rows])
    return pixels


def _check_size(image: "Image.Image", source: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{source}: {width}×{height} px; {_too_large()}")
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(
            f"{source}: {width}×{height} px; expected at least {MIN_SIDE_PX} px on each side: take a larger picture of "
            "the part"
        )


def _check_mode(image: "Image.Image", source: str) -> None:
    if image.mode not in ("RGB", "L"):
        fix = _FIX_BY_MODE.get(image.mode, DEPTH)
        raise ImageError(f"{source}: pixel format {image.mode}; {EXPECTED}: {fix}")


def _check_file(image: "Image.Image", file: BinaryIO, source: str) -> None:
    name = str(image.format)
    position = file.tell()
    file.seek(0)
    fault = find_fault(file, _NAMES[name])
    if fault is None and name == "MPO" and not _has_one_picture(image, file):
        fault = f"several pictures in one file, as from a 3D camera; {ONE_PICTURE}: save the right one as PNG or JPEG"
    if fault is not None:
        raise ImageError(f"{source}: {fault}")
    file.seek(position)  # Pillow reads on from here


def _has_one_picture(image: "Image.Image", file: BinaryIO) -> bool:
    """Return whether the further pictures of a JPEG are only previews, a gain map or depth maps of the first.

    Cameras and phones put these into each photo, smaller than it; only a gain map can have its size.
    """
    entries = getattr(image, "mpinfo", {}).get(_MPO_ENTRIES, [])[1:]
    segments = getattr(image, "applist", [])
    if len(entries) == 1 and any(content.startswith(_GAIN_MAP) for _, content in segments):
        return True
    file.seek(0)
    data = file.read()
    starts = [data.index(b"MPF\0") + 4 + entry["DataOffset"] for entry in entries]
    return all(is_smaller_jpeg(data[start:], image.size) for start in starts)


def _unidentified(file: BinaryIO) -> str:
    """Return the fault of a file that Pillow does not open."""
    file.seek(0)
    head = file.read(512)
    name = format_of(head)
    if name in READ_FORMATS:
        file.seek(0)
        fault = None
        with contextlib.suppress(struct.error, ValueError, LookupError, OSError):
            fault = find_fault(file, name)
        return fault or f"not an image, or its header is damaged; expected {_formats()}: copy it from its source"
    if not head:
        return "an empty file, not an image; copy it again from its source"
    received = f"{name}, not an image that partsight reads" if name not in ("", "text") else "not an image"
    return f"{received}; expected {_formats()}: save it in one of these formats"


def _too_large() -> str:
    return f"expected at most {MAX_PIXELS // 1_000_000} megapixels: crop it or scale it down"


def _formats() -> str:
    return f"{', '.join(READ_FORMATS[:-1])} or {READ_FORMATS[-1]}"


class ImageFiles(Sequence[Pixels]):
    """Image files as a sequence of pictures; each access reads the file, since a catalogue may not fit into memory."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Pixels: ...

    @overload
    def __getitem__(self, index: slice) -> list[Pixels]: ...

    def __getitem__(self, index: int | slice) -> Pixels | list[Pixels]:
        """Read one image, or several; raises ImageError as `read_image` does."""
        if isinstance(index, slice):
            return [read_image(path) for path in self.paths[index]]
        return read_image(self.paths[index])
