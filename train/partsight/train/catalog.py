"""The catalogue: the golden image of each part, and its further references."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Literal

from partsight.runtime.core import CatalogError
from partsight.runtime.images import ImageFiles, Region, describe_mistake
from partsight.train.catalog_checks import CheckedImage, PartImage, find_image_faults, find_twins, read_part_image
from partsight.train.catalog_folder import find_part_files
from partsight.train.part_names import find_clashing, find_unusable


@dataclass(frozen=True)
class Catalog:
    """Images in the order of their labels; this order is the order of the network's classes.

    Attributes:
        root: Folder of the catalogue.
        goldens: One golden image for each part, sorted by label. The network learns it.
        color: `bgr` if the images are in colour, `mono` if they are grey.
        twins: Pairs of labels whose images a camera could hardly tell apart.
        golden_hw: Height and width of all images, in pixels; None if they differ.
        further: Further references of the parts that have several images, by label. Frames are compared with them, too.
    """

    root: Path
    goldens: tuple[PartImage, ...]
    color: Literal["bgr", "mono"]
    twins: tuple[tuple[str, str], ...]
    golden_hw: tuple[int, int] | None = None
    further: Mapping[str, tuple[PartImage, ...]] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """The parts' names, in the order of the classes."""
        return tuple(golden.label for golden in self.goldens)

    @property
    def images(self) -> ImageFiles:
        """The golden images' pixels, in the order of the classes; each access reads a file."""
        return ImageFiles([golden.path for golden in self.goldens])

    @property
    def references(self) -> tuple[PartImage, ...]:
        """All images in the order of the bank: of each part its golden image, then its further references."""
        return tuple(image for golden in self.goldens for image in (golden, *self.further.get(golden.label, ())))

    @property
    def class_of(self) -> tuple[int, ...]:
        """Class of each of `references`."""
        index_of = {label: index for index, label in enumerate(self.labels)}
        return tuple(index_of[image.label] for image in self.references)

    def further_images(self) -> dict[int, ImageFiles]:
        """Return the pixels of the further references of each class that has some; each access reads a file."""
        index_of = {label: index for index, label in enumerate(self.labels)}
        return {index_of[label]: ImageFiles([image.path for image in group]) for label, group in self.further.items()}

    @property
    def sha256(self) -> str:
        """SHA-256 of all labels and image files."""
        digest = hashlib.sha256()
        for image in (*self.goldens, *(image for group in self.further.values() for image in group)):
            digest.update(f"{image.label}\0{image.sha256}\n".encode())
        return digest.hexdigest()


def read_catalog(root: str | Path, region: Region | None = None) -> Catalog:
    """Read a catalogue: a folder with one folder for each part, or with one image file for each part.

    The part's name is the folder's name, or the file's without its suffix. A folder may hold several images: the one
    called `golden` is the golden image, or else the first by name. The others are further references. Every image is
    decoded.

    Args:
        root: Folder of the catalogue.
        region: Region of each image that the network will see; None for all of it.

    Raises:
        CatalogError: The catalogue has faults; the message lists all of them. A part has no image. An image or a name
            is unusable, or an image is too small for the region. Sizes differ although there is a region. Two images
            are the same, or one is a copy of another. Names are equal on another system. Grey and colour are mixed.
    """
    root = Path(root)
    mistake = describe_mistake(root, "catalog")
    if mistake:
        raise CatalogError(f"{root}: {mistake}; expected a folder with a folder or an image for each part")
    try:
        if not root.is_dir():
            raise CatalogError(f"{root}: there is no such folder; expected one with a folder or an image for each part")
        found = find_part_files(root)
    except OSError as error:
        raise CatalogError(
            f"{root}: cannot be read ({error}); make it readable, or copy the images elsewhere"
        ) from error
    read = _read_all(found.paths, region)
    images = [item for item in read if not isinstance(item, str)]
    faults = [*found.faults, *find_clashing(found.paths), *find_unusable(found.paths)]
    faults += [item for item in read if isinstance(item, str)] + find_image_faults(images, region)
    if faults:
        raise CatalogError(_describe(root, faults))
    return _catalog(root, images)


def _read_all(paths: Mapping[str, Sequence[Path]], region: Region | None) -> list[CheckedImage | str]:
    """Return each image or its fault, sorted by label; of each part the golden image comes first."""
    labels = [label for label in sorted(paths) for _ in paths[label]]
    files = [path for label in sorted(paths) for path in paths[label]]
    is_golden = [path == paths[label][0] for label, path in zip(labels, files, strict=True)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(read_part_image, labels, files, is_golden, repeat(region)))


def _catalog(root: Path, images: Sequence[CheckedImage]) -> Catalog:
    """Return the catalogue of images without faults, sorted by label."""
    further: dict[str, tuple[PartImage, ...]] = {}
    for image in images:
        if not image.is_golden:
            further[image.file.label] = (*further.get(image.file.label, ()), image.file)
    sizes = {image.size_hw for image in images}
    return Catalog(
        root,
        tuple(image.file for image in images if image.is_golden),
        "mono" if images[0].is_mono else "bgr",
        find_twins(images),
        sizes.pop() if len(sizes) == 1 else None,
        further,
    )


def _describe(root: Path, faults: list[str]) -> str:
    shown = 20
    lines = [f"{root}: {len(faults)} thing{'s' if len(faults) > 1 else ''} to fix in the catalogue", *faults[:shown]]
    if len(faults) > shown:
        lines.append(f"and {len(faults) - shown} more")
    return "\n  ".join(lines)
