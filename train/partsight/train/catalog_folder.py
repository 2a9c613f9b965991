"""The folder of a catalogue: the image files of each part."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from partsight.runtime.images import Listing, label_of, list_folder, list_images

_GOLDEN_NAME = "golden"
"""Name, without its suffix, of the golden image in a part's folder with several images."""

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class PartFiles:
    """Image files of a catalogue.

    Attributes:
        paths: Image files of each part, by label: its golden image, then its further references in natural order of
            their names.
        faults: One sentence for each fault of the folder.
    """

    paths: dict[str, tuple[Path, ...]]
    faults: list[str]


def find_part_files(root: Path) -> PartFiles:
    """Find the image files of each part in a folder.

    Raises:
        OSError: The folder cannot be listed.
    """
    listing = list_folder(root)
    folders, files = listing.folders, listing.images
    faults = [f"{path.name}: {cause}" for path, cause in listing.faults.items()]
    if folders and files:
        faults.append(
            f"holds both folders ({folders[0].name}, …) and images ({files[0].name}, …); "
            "expected one folder for each part, or one image for each part"
        )
        return PartFiles({}, faults)
    if not (folders or files or faults):
        faults.append("holds no images; expected one folder for each part, or one image for each part")
    found = _find_in_folders(folders) if folders else _find_files(files)
    return PartFiles(found.paths, faults + found.faults)


def _find_in_folders(folders: Sequence[Path]) -> PartFiles:
    paths: dict[str, tuple[Path, ...]] = {}
    faults: list[str] = []
    for folder in folders:
        try:
            listing = list_folder(folder)
        except OSError as error:
            faults.append(f"{folder.name}: cannot be read ({error.strerror or error}); make it readable or remove it")
            continue
        faults += [f"{folder.name}/{path.name}: {cause}" for path, cause in listing.faults.items()]
        goldens = [path for path in listing.images if label_of(path).casefold() == _GOLDEN_NAME]
        if len(goldens) > 1:
            named = " and ".join(path.name for path in goldens)
            faults.append(f"{folder.name}: has {named}; expected one golden image: rename or remove the others")
        elif listing.images:
            paths[folder.name] = _golden_first(listing.images, goldens)
        inner = _find_inner_parts(listing)
        if not (listing.images or listing.faults or inner):
            faults.append(f"{folder.name}: has no image; add its golden image or remove the folder")
        if inner:
            faults.append(
                f"{folder.name}: has a folder with images in it ({inner}); expected the images of a part in its own "
                "folder: move part folders up into the catalogue, and anything else out of it"
            )
    return PartFiles(paths, faults)


def _golden_first(images: Sequence[Path], goldens: Sequence[Path]) -> tuple[Path, ...]:
    """Return the image files of a part: the golden image is the one of that name, else the first by name."""
    ordered = sorted(images, key=_natural)
    return (*goldens, *(path for path in ordered if path not in goldens))


def _natural(path: Path) -> tuple[list[int | str], str]:
    """Return the key by which a person sorts names: 2.png before 10.png."""
    parts = _DIGITS.split(path.name.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], path.name


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


def _find_files(files: Sequence[Path]) -> PartFiles:
    paths: dict[str, tuple[Path, ...]] = {}
    faults: list[str] = []
    for path in files:
        label = label_of(path)
        if label in paths:
            faults.append(f"{label}: has {paths[label][0].name} and {path.name}; keep one of them")
        paths[label] = (path,)
    return PartFiles(paths, faults)
