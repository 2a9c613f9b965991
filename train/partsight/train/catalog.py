"""The catalogue: one golden image for each part."""

import functools
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from partsight.runtime.errors import CatalogError, ImageError
from partsight.runtime.images import IMAGE_SUFFIXES, ImageFiles, Pixels, read_image
from partsight.runtime.labels import USABLE, folded, is_usable
from partsight.runtime.preprocess import Region
from partsight.runtime.storage import sha256_bytes

_OTHER_IMAGE_SUFFIXES = (
    *(".avif", ".bpg", ".dib", ".exr", ".gif", ".hdr", ".heic", ".heif", ".ico", ".j2k", ".jfif", ".jif", ".jp2"),
    *(".jpe", ".jpx", ".jxl", ".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".tga"),
    *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".raw", ".rw2"),
    *(".ai", ".emf", ".eps", ".psd", ".svg", ".wmf", ".xcf"),
)
"""Of image files that partsight does not read: a part of which there is no other would be missing without a word."""

_TWIN_SIDE_PX = 64
_TWIN_RMS = 1.0  # grey levels of 255 at 64×64 px: below the noise of an industrial camera


@dataclass(frozen=True)
class GoldenImage:
    """The picture from which a part is learned.

    Attributes:
        label: the part's name.
        path: of the image file.
        sha256: of the file's bytes.
    """

    label: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class Catalog:
    """Golden images in the order of their labels; this order is the order of the network's classes.

    Attributes:
        root: the folder that was read.
        goldens: one for each part, sorted by label.
        color: `bgr` if the images are in colour, `mono` if they are grey.
        twins: pairs of labels whose images a camera could hardly tell apart.
    """

    root: Path
    goldens: tuple[GoldenImage, ...]
    color: Literal["bgr", "mono"]
    twins: tuple[tuple[str, str], ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The parts' names, in the order of the classes."""
        return tuple(golden.label for golden in self.goldens)

    @property
    def images(self) -> ImageFiles:
        """The golden images' pixels, in the order of the classes, read when asked for."""
        return ImageFiles([golden.path for golden in self.goldens])

    @property
    def sha256(self) -> str:
        """Of all labels and image files: changes when any of them does."""
        digest = hashlib.sha256()
        for golden in self.goldens:
            digest.update(f"{golden.label}\0{golden.sha256}\n".encode())
        return digest.hexdigest()


def read_catalog(root: str | Path, region: Region | None = None) -> Catalog:
    """Read a catalogue: a folder with one folder for each part, or with one image file for each part.

    The part's name is the folder's name, or the file's without its suffix. Every image is decoded.

    Args:
        root: the folder.
        region: of each image, that the network will see; None for all of it.

    Raises:
        CatalogError: there is nothing to learn from, a part has no image or several, an image cannot be used or is
            too small for the region, a name cannot be used, two parts have the same image or names that are one
            elsewhere, or grey and colour are mixed. All faults are named at once, so that one pass mends them.
    """
    root = Path(root)
    try:
        if not root.is_dir():
            raise CatalogError(f"{root}: there is no such folder; expected one with a folder or an image for each part")
        paths, faults = _find(root)
    except OSError as error:
        raise CatalogError(
            f"{root}: cannot be read ({error}); make it readable, or copy the images elsewhere"
        ) from error
    faults += _clashing_names(paths) + _unusable_names(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = list(pool.map(functools.partial(_read, region=region), paths.items()))
    faults += [item for item in read if isinstance(item, str)]
    images = [item for item in read if not isinstance(item, str)]
    faults += _same_pixels(images, region) + _mixed_color(images)
    if faults:
        raise CatalogError(_describe(root, faults))
    images.sort(key=lambda item: item.golden.label)
    color: Literal["bgr", "mono"] = "mono" if images[0].is_mono else "bgr"
    return Catalog(root, tuple(item.golden for item in images), color, _find_twins(images))


@dataclass(frozen=True)
class _Image:
    golden: GoldenImage
    pixels_sha256: str
    is_mono: bool
    small: Pixels


def _find(root: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the image of each label, and what is wrong with the folder."""
    everything = sorted(root.iterdir())
    entries = [entry for entry in everything if not entry.name.startswith(".")]
    folders = [entry for entry in entries if entry.is_dir()]
    files = [entry for entry in entries if entry.is_file() and _is_image(entry)]
    others = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in _OTHER_IMAGE_SUFFIXES]
    if folders and files:
        return {}, [
            f"holds both folders ({folders[0].name}, …) and images ({files[0].name}, …); "
            "expected one folder for each part, or one image for each part"
        ]
    if files or (others and not folders):
        return _find_files(files, others)
    hidden = [
        f"{entry.name}: a hidden folder with an image in it; if it is a part, give it a name without the dot, "
        "or move it out of the catalogue"
        for entry in everything
        if entry.name.startswith(".") and _is_like_a_part(entry)
    ]
    if not folders and not hidden:
        return {}, ["holds no images; expected one folder for each part, or one image for each part"]
    paths, faults = _find_in_folders(folders)
    return paths, hidden + faults


def _find_in_folders(folders: list[Path]) -> tuple[dict[str, Path], list[str]]:
    paths: dict[str, Path] = {}
    faults: list[str] = []
    for folder in folders:
        images = _images_in(folder)
        if len(images) == 1:
            paths[folder.name] = images[0]
        elif images:
            faults.append(f"{folder.name}: has {len(images)} images; expected one golden image: keep the best")
        else:
            faults.append(f"{folder.name}: has no image; add its golden image or remove the folder")
    return paths, faults


def _images_in(folder: Path) -> list[Path]:
    # Hidden files are not images: macOS leaves `._golden.jpg` beside `golden.jpg`.
    entries = sorted(folder.iterdir())
    return [path for path in entries if path.is_file() and _is_image(path) and not path.name.startswith(".")]


def _is_like_a_part(entry: Path) -> bool:
    try:
        return entry.is_dir() and bool(_images_in(entry))
    except OSError:  # such as the bin of another user: it holds no part
        return False


def _find_files(files: list[Path], others: list[Path]) -> tuple[dict[str, Path], list[str]]:
    paths: dict[str, Path] = {}
    faults: list[str] = []
    for path in files:
        if path.stem in paths:
            faults.append(f"{path.stem}: has {paths[path.stem].name} and {path.name}; keep one of them")
        paths[path.stem] = path
    read = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
    faults += [
        f"{path.stem}: {path.name} is in an image format that is not read; expected {read}: save it as one of them, "
        "or move it out of the catalogue"
        for path in others
        if path.stem not in paths  # what a picture was made of may lie beside it
    ]
    return paths, faults


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _clashing_names(labels: Iterable[str]) -> list[str]:
    by_folded: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        by_folded[folded(label)].append(label)
    return [
        f"{' and '.join(group)}: names that differ only in case, or in how accents are encoded, which is one name on "
        "Windows or macOS; rename one"
        for group in by_folded.values()
        if len(group) > 1
    ]


def _unusable_names(labels: Iterable[str]) -> list[str]:
    """Name labels that cannot be read off a line's screen, or that no UTF-8 text can hold."""
    faults = []
    for label in labels:
        if any("\ud800" <= letter <= "\udfff" for letter in label):  # on Linux a file's name may be any bytes
            faults.append(f"{label!a}: a name that is not UTF-8, so that no result could name the part; rename it")
        elif not is_usable(label):
            faults.append(f"{label!r}: is no name for a part; expected {USABLE}: rename it")
    return faults


def _read(item: tuple[str, Path], region: Region | None) -> "_Image | str":
    """Return what is needed of an image, or what is wrong with it."""
    label, path = item
    try:
        pixels = read_image(path)
        golden = GoldenImage(label, path, sha256_bytes(path.read_bytes()))
    except (ImageError, OSError) as error:
        return f"{label}: {error}"
    if region is not None:
        height, width = pixels.shape[:2]
        right, bottom = region.x + region.width, region.y + region.height
        if right > width or bottom > height:
            return (
                f"{label}: {width}×{height} px, the region reaches to ({right}, {bottom}); expected a region inside "
                "every golden image: choose a smaller one, or take the picture again as the line delivers its frames"
            )
        pixels = pixels[region.y : bottom, region.x : right]
    small = np.asarray(cv2.resize(pixels, (_TWIN_SIDE_PX,) * 2, interpolation=cv2.INTER_AREA), np.uint8)
    shape = np.asarray(pixels.shape, np.int64).tobytes()
    return _Image(golden, sha256_bytes(shape + pixels.tobytes()), pixels.ndim == 2, small)


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


def _mixed_color(images: list[_Image]) -> list[str]:
    mono = [image.golden.label for image in images if image.is_mono]
    if not mono or len(mono) == len(images):
        return []
    return [
        f"{len(mono)} images are grey ({', '.join(mono[:3])}) and {len(images) - len(mono)} in colour; "
        "expected all as the line camera delivers its frames"
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
    lines = [f"{root}: {len(faults)} thing{'s' if len(faults) > 1 else ''} to mend in the catalogue", *faults[:shown]]
    if len(faults) > shown:
        lines.append(f"and {len(faults) - shown} more")
    return "\n  ".join(lines)
