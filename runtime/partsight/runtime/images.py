"""Image files: the one reader, for golden images and for frames from a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import cv2
import numpy as np
import numpy.typing as npt

from partsight.runtime.errors import ImageError
from partsight.runtime.image_header import MOST_SCANS, has_too_many_scans

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
SHORTEST_SIDE_PX = 32
MOST_PIXELS = 80_000_000

_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
"""What Pillow may look for, whatever a file is called: of those it knows, EPS is a program, and starts Ghostscript."""

_JPEG_FORMATS = ("JPEG", "MPO")

_BLOCK_PX = 2**20

_MEND_BY_MODE = {
    "RGBA": "flatten its transparency onto the background that the camera sees",
    "LA": "flatten its transparency onto the background that the camera sees",
    "CMYK": "convert it to RGB",
    "P": "convert its palette to RGB",
    "1": "save it with 8 bits a pixel",
}


def read_image(path: str | Path) -> Pixels:
    """Read an image file as a camera would deliver it.

    The file is decoded strictly: a truncated file is an error, never a picture with a grey lower half.
    EXIF orientation is applied. It takes up to 10 bytes of memory for each pixel of a picture that is not refused.

    Returns:
        (height, width, 3) uint8 BGR for a colour file, (height, width) uint8 for a grey one; contiguous.

    Raises:
        ImageError: the file is missing, not an image, damaged, smaller than 32 px on a side, larger than
            80 megapixels, or not 8-bit RGB or grey.
    """
    # Here: frames of a camera need no Pillow, and a line that starts again waits for each import.
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415

    path = Path(path)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            _check_header(image, path)
            if image.format in _JPEG_FORMATS and has_too_many_scans(path.read_bytes()):
                raise ImageError(f"{path}: goes over its pixels more than {MOST_SCANS} times; save it again as a JPEG")
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _pixels(image)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: there is no such file") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path}: {_too_large()}") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not an image, or its header is damaged; expected {_formats()}") from error
    except ImageError:
        raise
    except Exception as error:  # of nearly any kind, TypeError too: whatever Pillow meets in damaged bytes
        raise ImageError(
            f"{path}: damaged or unreadable ({error}); copy it again from its source, or take the picture again"
        ) from error


def _pixels(image: "Image.Image") -> Pixels:
    """Copy what Pillow holds, block by block: of a large picture it would make three copies on the way."""
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


def _check_header(image: "Image.Image", path: Path) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise ImageError(f"{path}: {width}×{height} px; {_too_large()}")
    if min(width, height) < SHORTEST_SIDE_PX:
        raise ImageError(
            f"{path}: {width}×{height} px; expected at least {SHORTEST_SIDE_PX} px on each side, "
            "a smaller picture does not show a part"
        )
    is_16_bit = ";16" in str(getattr(image, "tile", ""))  # of 16-bit RGB, Pillow silently drops half the bits
    if image.mode not in ("RGB", "L") or is_16_bit:
        mend = _MEND_BY_MODE.get(image.mode, "save it with 8 bits a channel, as the camera delivers frames")
        depth = " with 16 bits" if is_16_bit else ""
        raise ImageError(f"{path}: pixel format {image.mode}{depth}; expected 8-bit RGB or grey: {mend}")


def _too_large() -> str:
    return f"expected at most {MOST_PIXELS // 1_000_000} megapixels: crop it or scale it down"


def _formats() -> str:
    return ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))


class ImageFiles(Sequence[Pixels]):
    """Image files as a sequence of pictures, each read when it is asked for: a catalogue may not fit into memory."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, place: int) -> Pixels: ...

    @overload
    def __getitem__(self, place: slice) -> list[Pixels]: ...

    def __getitem__(self, place: int | slice) -> Pixels | list[Pixels]:
        """Read one image, or several; raises ImageError as `read_image` does."""
        if isinstance(place, slice):
            return [read_image(path) for path in self.paths[place]]
        return read_image(self.paths[place])
