"""The catalogue: one golden image for each part."""

import functools
import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from partsight.runtime.core import CatalogError, ImageError, Pixels, sha256_bytes
from partsight.runtime.images import (
    ImageFiles,
    Listing,
    Region,
    describe_mistake,
    label_of,
    list_folder,
    list_images,
    read_image,
)
from partsight.train.part_names import find_clashing, find_unusable, without_copy

_TWIN_SIDE_PX = 64
_TWIN_RMS = 1.0  # in grey levels of 0 to 255, at 64×64 px: less than the noise of an industrial camera

_COPY_LEVELS = 8  # in grey levels: JPEG changes no spot by more, another part changes one by at least 14


@dataclass(frozen=True)
class GoldenImage:
    """The picture from which a part is learned.

    Attributes:
        label: Name of the part.
        path: Path of the image file.
        sha256: SHA-256 of the file's bytes.
    """

    label: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class Catalog:
    """Golden images in the order of their labels; this order is the order of the network's classes.

    Attributes:
        root: Folder of the catalogue.
        goldens: One golden image for each part, sorted by label.
        color: `bgr` if the images are in colour, `mono` if they are grey.
        twins: Pairs of labels whose images a camera could hardly tell apart.
        golden_hw: Height and width of all images, in pixels; None if they differ.
    """

    root: Path
    goldens: tuple[GoldenImage, ...]
    color: Literal["bgr", "mono"]
    twins: tuple[tuple[str, str], ...]
    golden_hw: tuple[int, int] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The parts' names, in the order of the classes."""
        return tuple(golden.label for golden in self.goldens)

    @property
    def images(self) -> ImageFiles:
        """The golden images' pixels, in the order of the classes; each access reads a file."""
        return ImageFiles([golden.path for golden in self.goldens])

    @property
    def sha256(self) -> str:
        """SHA-256 of all labels and image files."""
        digest = hashlib.sha256()
        for golden in self.goldens:
            digest.update(f"{golden.label}\0{golden.sha256}\n".encode())
        return digest.hexdigest()


def read_catalog(root: str | Path, region: Region | None = None) -> Catalog:
    """Read a catalogue: a folder with one folder for each part, or with one image file for each part.

    The part's name is the folder's name, or the file's without its suffix. Every image is decoded.

    Args:
        root: Folder of the catalogue.
        region: Region of each image that the network will see; None for all of it.

    Raises:
        CatalogError: The catalogue has faults; the message lists all of them. A part has no image or several. An image
            or a name is unusable, or an image is too small for the region. Sizes differ although there is a region.
            Two parts have the same image, or names that are equal on another system. Grey and colour are mixed.
    """
    root = Path(root)
    mistake = describe_mistake(root, "catalog")
    if mistake:
        raise CatalogError(f"{root}: {mistake}; expected a folder with a folder or an image for each part")
    try:
        if not root.is_dir():
            raise CatalogError(f"{root}: there is no such folder; expected one with a folder or an image for each part")
        paths, faults = _find(root)
    except OSError as error:
        raise CatalogError(
            f"{root}: cannot be read ({error}); make it readable, or copy the images elsewhere"
        ) from error
    faults += find_clashing(paths) + find_unusable(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = list(pool.map(functools.partial(_read, region=region), paths.items()))
    faults += [item for item in read if isinstance(item, str)]
    images = sorted((item for item in read if not isinstance(item, str)), key=lambda item: item.golden.label)
    faults += _same_pixels(images, region) + _mixed_color(images) + _copies(images)
    faults += [] if region is None else _mixed_sizes(images)
    if faults:
        raise CatalogError(_describe(root, faults))
    color: Literal["bgr", "mono"] = "mono" if images[0].is_mono else "bgr"
    sizes = {item.size_hw for item in images}
    golden_hw = sizes.pop() if len(sizes) == 1 else None
    return Catalog(root, tuple(item.golden for item in images), color, _find_twins(images), golden_hw)


@dataclass(frozen=True)
class _Image:
    golden: GoldenImage
    pixels_sha256: str
    size_hw: tuple[int, int]  # before the region is cropped
    is_mono: bool
    small: Pixels


def _find(root: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the image of each label, and the faults of the folder."""
    listing = list_folder(root)
    folders, files = listing.folders, listing.images
    faults = [f"{path.name}: {cause}" for path, cause in listing.faults.items()]
    if folders and files:
        faults.append(
            f"holds both folders ({folders[0].name}, …) and images ({files[0].name}, …); "
            "expected one folder for each part, or one image for each part"
        )
        return {}, faults
    if not (folders or files or faults):
        faults.append("holds no images; expected one folder for each part, or one image for each part")
    paths, further = _find_in_folders(folders) if folders else _find_files(files)
    return paths, faults + further


def _find_in_folders(folders: Sequence[Path]) -> tuple[dict[str, Path], list[str]]:
    paths: dict[str, Path] = {}
    faults: list[str] = []
    for folder in folders:
        try:
            listing = list_folder(folder)
        except OSError as error:
            faults.append(f"{folder.name}: cannot be read ({error.strerror or error}); make it readable or remove it")
            continue
        faults += [f"{folder.name}/{path.name}: {cause}" for path, cause in listing.faults.items()]
        inner = _find_inner_parts(listing)
        if len(listing.images) == 1:
            paths[folder.name] = listing.images[0]
        elif listing.images:
            faults.append(f"{folder.name}: has {len(listing.images)} images; expected one golden image: keep the best")
        elif not listing.faults and not inner:
            faults.append(f"{folder.name}: has no image; add its golden image or remove the folder")
        if inner:
            faults.append(
                f"{folder.name}: has a folder with images in it ({inner}); expected one golden image in the folder of "
                "each part: move part folders up into the catalogue, and anything else out of it"
            )
    return paths, faults


def _find_inner_parts(part: Listing) -> str:
    """Return the first folder inside a part's folder that holds images; "" if there is none."""
    for folder in part.folders:
        try:
            found = list_images(folder)
        except OSError:
            return folder.name
        if found.entries:
            return folder.name
    return ""


def _find_files(files: Sequence[Path]) -> tuple[dict[str, Path], list[str]]:
    paths: dict[str, Path] = {}
    faults: list[str] = []
    for path in files:
        label = label_of(path)
        if label in paths:
            faults.append(f"{label}: has {paths[label].name} and {path.name}; keep one of them")
        paths[label] = path
    return paths, faults


def _read(item: tuple[str, Path], region: Region | None) -> "_Image | str":
    """Return the facts of an image, or its fault."""
    label, path = item
    try:
        pixels = read_image(path)
        golden = GoldenImage(label, path, sha256_bytes(path.read_bytes()))
    except (ImageError, OSError) as error:
        return f"{label}: {error}"
    height, width = pixels.shape[:2]
    if region is not None:
        right, bottom = region.x + region.width, region.y + region.height
        if right > width or bottom > height:
            return (
                f"{label}: {width}×{height} px, the region reaches to ({right}, {bottom}); expected a region inside "
                "every golden image: choose a smaller one, or take the picture again as the line delivers its frames"
            )
        pixels = pixels[region.y : bottom, region.x : right]
    small = np.asarray(cv2.resize(pixels, (_TWIN_SIDE_PX,) * 2, interpolation=cv2.INTER_AREA), np.uint8)
    shape = np.asarray(pixels.shape, np.int64).tobytes()
    return _Image(golden, sha256_bytes(shape + pixels.tobytes()), (height, width), pixels.ndim == 2, small)


def _same_pixels(images: list[_Image], region: Region | None) -> list[str]:
    by_pixels: dict[str, list[str]] = defaultdict(list)
    for image in images:
        by_pixels[image.pixels_sha256].append(image.golden.label)
    where = "" if region is None else " inside the region"
    return [
        f"{' and '.join(group)}: the same image{where}; take the right picture of one, or keep one of the parts"
        for group in by_pixels.values()
        if len(group) > 1
    ]


def _copies(images: list[_Image]) -> list[str]:
    """Return a fault for each part that is a file manager's copy of a golden image, saved again."""
    by_label = {image.golden.label: image for image in images}
    faults = []
    for label, image in by_label.items():
        origin = by_label.get(without_copy(label), image)
        if origin is image or origin.pixels_sha256 == image.pixels_sha256:
            continue  # equal files are a fault already
        difference = _brightness(image.small) - _brightness(origin.small)
        if np.abs(difference).max() < _COPY_LEVELS:
            faults.append(
                f"{label}: by its name and image a copy of {origin.golden.label}; move it out of the catalogue, or "
                "give both parts names of their own"
            )
    return faults


def _brightness(small: Pixels) -> npt.NDArray[np.float32]:
    return (small if small.ndim == 2 else np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))).astype(np.float32)


def _mixed_color(images: list[_Image]) -> list[str]:
    mono = [image.golden.label for image in images if image.is_mono]
    if not mono or len(mono) == len(images):
        return []
    return [
        f"{len(mono)} images are grey ({', '.join(mono[:3])}) and {len(images) - len(mono)} in colour; "
        "expected all as the line camera delivers its frames"
    ]


def _mixed_sizes(images: list[_Image]) -> list[str]:
    """Return a fault if sizes differ, because a region then shows a different spot in each size."""
    labels = {image.size_hw: image.golden.label for image in images}
    if len(labels) < 2:
        return []
    sizes = ", ".join(f"{label} has {width}×{height} px" for (height, width), label in [*labels.items()][:3])
    return [
        f"images of {len(labels)} sizes ({sizes}), and a region cuts another spot in each; expected one size: take the "
        "pictures again as the line delivers its frames"
    ]


def _find_twins(images: list[_Image]) -> tuple[tuple[str, str], ...]:
    """Return the pairs whose root mean square difference at 64×64 px is less than a camera's noise."""
    rows = np.stack([image.small for image in images]).reshape(len(images), -1).astype(np.float32)
    squares = np.einsum("ij,ij->i", rows, rows)
    limit = _TWIN_RMS**2 * rows.shape[1]
    pairs = []
    for start in range(0, len(rows), 256):
        block = slice(start, start + 256)
        distances = squares[block, None] + squares[None, :] - 2 * rows[block] @ rows.T
        for first, second in zip(*np.nonzero(distances < limit), strict=True):
            if start + first < second:
                pairs.append((images[start + first].golden.label, images[second].golden.label))
    return tuple(pairs)


def _describe(root: Path, faults: list[str]) -> str:
    shown = 20
    lines = [f"{root}: {len(faults)} thing{'s' if len(faults) > 1 else ''} to fix in the catalogue", *faults[:shown]]
    if len(faults) > shown:
        lines.append(f"and {len(faults) - shown} more")
    return "\n  ".join(lines)
