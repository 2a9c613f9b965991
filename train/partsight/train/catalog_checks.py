"""Checks of a catalogue's images: the same picture twice, copies, grey among colour, sizes, and twins."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from partsight.runtime.core import ImageError, Pixels, sha256_bytes
from partsight.runtime.images import Region, label_of, read_image
from partsight.train.part_names import without_copy

_TWIN_SIDE_PX = 64
_TWIN_RMS = 1.0  # in grey levels of 0 to 255, at 64×64 px: less than the noise of an industrial camera

_COPY_LEVELS = 8  # in grey levels: JPEG changes no spot by more, another part changes one by at least 14


@dataclass(frozen=True)
class PartImage:
    """An image file of a part.

    Attributes:
        label: Name of the part.
        path: Path of the file.
        sha256: SHA-256 of the file's bytes.
    """

    label: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class CheckedImage:
    """An image that was read.

    Attributes:
        file: File of the image.
        is_golden: Whether it is the part's golden image; else it is a further reference.
        pixels_sha256: SHA-256 of shape and pixels inside the region.
        size_hw: Height and width in pixels, before the region is cropped.
        is_mono: Whether it is grey.
        small: Pixels inside the region, (64, 64, 3) or (64, 64) uint8.
    """

    file: PartImage
    is_golden: bool
    pixels_sha256: str
    size_hw: tuple[int, int]
    is_mono: bool
    small: Pixels

    @property
    def name(self) -> str:
        """Name for messages: the part's, and the file's as well of a further reference."""
        return self.file.label if self.is_golden else f"{self.file.label}/{self.file.path.name}"


def read_part_image(label: str, path: Path, is_golden: bool, region: Region | None) -> CheckedImage | str:
    """Return an image's facts, or its fault.

    Args:
        label: Name of the part.
        path: Path of the file.
        is_golden: Whether it is the part's golden image.
        region: Region that the network will see; None for all of the image.
    """
    try:
        pixels = read_image(path)
        file = PartImage(label, path, sha256_bytes(path.read_bytes()))
    except (ImageError, OSError) as error:
        return f"{label}: {error}"
    height, width = pixels.shape[:2]
    if region is not None:
        right, bottom = region.x + region.width, region.y + region.height
        if right > width or bottom > height:
            return (
                f"{label if is_golden else f'{label}/{path.name}'}: {width}×{height} px, the region reaches to "
                f"({right}, {bottom}); expected a region inside every golden image: choose a smaller one, or take the "
                "picture again as the line delivers its frames"
            )
        pixels = pixels[region.y : bottom, region.x : right]
    small = np.asarray(cv2.resize(pixels, (_TWIN_SIDE_PX,) * 2, interpolation=cv2.INTER_AREA), np.uint8)
    shape = np.asarray(pixels.shape, np.int64).tobytes()
    digest = sha256_bytes(shape + pixels.tobytes())
    return CheckedImage(file, is_golden, digest, (height, width), pixels.ndim == 2, small)


def find_image_faults(images: Sequence[CheckedImage], region: Region | None) -> list[str]:
    """Return one sentence for each fault that shows only in several images together."""
    faults = _same_pixels(images, region) + _mixed_color(images) + _copied_parts(images) + _copied_references(images)
    return faults if region is None else faults + _mixed_sizes(images)


def _same_pixels(images: Sequence[CheckedImage], region: Region | None) -> list[str]:
    by_pixels: dict[str, list[CheckedImage]] = defaultdict(list)
    for image in images:
        by_pixels[image.pixels_sha256].append(image)
    where = "" if region is None else " inside the region"
    faults = []
    for group in by_pixels.values():
        is_of_one = len({image.file.label for image in group}) == 1
        remedy = "remove all but one" if is_of_one else "take the right picture of one, or keep one of the parts"
        if len(group) > 1:
            faults.append(f"{' and '.join(image.name for image in group)}: the same image{where}; {remedy}")
    return faults


def _copied_parts(images: Sequence[CheckedImage]) -> list[str]:
    """Return a fault for each part that is a file manager's copy of a golden image, saved again."""
    by_label = {image.file.label: image for image in images if image.is_golden}
    return [
        f"{label}: by its name and image a copy of {origin.name}; move it out of the catalogue, or give both parts "
        "names of their own"
        for label, image in by_label.items()
        if _is_copy(image, origin := by_label.get(without_copy(label), image))
    ]


def _copied_references(images: Sequence[CheckedImage]) -> list[str]:
    """Return a fault for each reference that is a file manager's copy of another of the same part, saved again."""
    by_name = {(image.file.label, label_of(image.file.path)): image for image in images}
    return [
        f"{image.name}: by its name and image a copy of {origin.file.path.name}; remove one"
        for (label, name), image in by_name.items()
        if _is_copy(image, origin := by_name.get((label, without_copy(name)), image))
    ]


def _is_copy(image: CheckedImage, origin: CheckedImage) -> bool:
    if origin is image or origin.pixels_sha256 == image.pixels_sha256:
        return False  # equal files are a fault already
    difference = _brightness(image.small) - _brightness(origin.small)
    return bool(np.abs(difference).max() < _COPY_LEVELS)


def _brightness(small: Pixels) -> npt.NDArray[np.float32]:
    return (small if small.ndim == 2 else np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))).astype(np.float32)


def _mixed_color(images: Sequence[CheckedImage]) -> list[str]:
    mono = [image.name for image in images if image.is_mono]
    if not mono or len(mono) == len(images):
        return []
    return [
        f"{len(mono)} images are grey ({', '.join(mono[:3])}) and {len(images) - len(mono)} in colour; "
        "expected all as the line camera delivers its frames"
    ]


def _mixed_sizes(images: Sequence[CheckedImage]) -> list[str]:
    """Return a fault if sizes differ, because a region then shows a different spot in each size."""
    names = {image.size_hw: image.name for image in images}
    if len(names) < 2:
        return []
    sizes = ", ".join(f"{name} has {width}×{height} px" for (height, width), name in [*names.items()][:3])
    return [
        f"images of {len(names)} sizes ({sizes}), and a region cuts another spot in each; expected one size: take the "
        "pictures again as the line delivers its frames"
    ]


def find_twins(images: Sequence[CheckedImage]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of parts with images whose root mean square difference at 64×64 px is less than noise."""
    rows = np.stack([image.small for image in images]).reshape(len(images), -1).astype(np.float32)
    squares = np.einsum("ij,ij->i", rows, rows)
    limit = _TWIN_RMS**2 * rows.shape[1]
    labels = [image.file.label for image in images]
    pairs: dict[tuple[str, str], None] = {}
    for start in range(0, len(rows), 256):
        block = slice(start, start + 256)
        distances = squares[block, None] + squares[None, :] - 2 * rows[block] @ rows.T
        for first, second in zip(*np.nonzero(distances < limit), strict=True):
            if labels[start + first] < labels[second]:
                pairs[labels[start + first], labels[second]] = None
    return tuple(pairs)
