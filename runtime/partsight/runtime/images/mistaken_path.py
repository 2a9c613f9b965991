"""A folder or file that a user named by mistake: its kind, and the command that helps."""

import itertools
import os
import stat
import zipfile
from pathlib import Path
from typing import Literal

from partsight.runtime.images.listing import IMAGE_SUFFIXES

Wanted = Literal["package", "run", "catalog", "image"]

_MANIFEST, _RECORD = "manifest.json", "run.json"
_ARCHIVES = (".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst")
_KERAS = (".h5", ".hdf5", ".keras")
_MAX_ENTRIES = 10_000

_NOUNS = {
    "package": "is a model package",
    "run": "is a run folder of `partsight train`",
    "outer_package": "holds the model package {inside}",
    "outer_run": "holds the run folder {inside}",
    "package_file": "is a file of the model package {parent}",
    "run_file": "is a file of the run folder {parent}",
    "archive": "is an archive",
    "keras": "is a Keras model",
    "onnx": "is an ONNX file",
    "image": "is an image",
    "images": "is a folder of images",
    "empty": "is an empty folder",
    "file": "is a file",
}
_EXPORT = "export it with `partsight export {} --out NAME.partsight`"
_TRAIN = "train on it with `partsight train {path} --out RUN`"
_OF_PACKAGE = "name the run folder from which it was exported, or use it with `partsight run {} IMAGE`"
_FOLDER_OF_IMAGES = "name the folder of golden images"
_REMEDIES: dict[Wanted, dict[str, str]] = {
    "package": {
        "run": _EXPORT.format("{path}"),
        "outer_package": "name that folder",
        "outer_run": _EXPORT.format("{inside}"),
        "package_file": "name that folder",
        "run_file": _EXPORT.format("{parent}"),
        "archive": "unpack it, and name the folder with manifest.json",
        "keras": "run `partsight train CATALOG --out RUN`, then `partsight export RUN --out PACKAGE`",
        "image": "name the package first, then the image",
        "images": f"{_TRAIN}, then run `partsight export RUN --out NAME.partsight`",
    },
    "run": {
        "package": _OF_PACKAGE.format("{path}"),
        "outer_package": _OF_PACKAGE.format("{inside}"),
        "outer_run": "name that folder",
        "package_file": _OF_PACKAGE.format("{parent}"),
        "run_file": "name that folder",
        "archive": "unpack it, and name the folder with run.json",
        "keras": "run `partsight train CATALOG --out RUN`",
        "images": _TRAIN,
    },
    "catalog": {
        "package": _FOLDER_OF_IMAGES,
        "run": _FOLDER_OF_IMAGES,
        "package_file": _FOLDER_OF_IMAGES,
        "run_file": _FOLDER_OF_IMAGES,
        "archive": "unpack it, and name the folder with the images",
        "keras": _FOLDER_OF_IMAGES,
        "onnx": _FOLDER_OF_IMAGES,
        "image": "name its folder, {parent}",
        "file": _FOLDER_OF_IMAGES,
    },
    "image": {
        "package": "name the package first, then the images",
        "run": _EXPORT.format("{path}"),
    },
}
"""Remedy by expected kind and found kind. In a catalogue, a folder of images with inner folders is no mistake."""


def describe_mistake(path: Path, wanted: Wanted) -> str:
    """Return the kind of a folder or file that a user named by mistake, and the command that helps.

    Args:
        path: Path that the user named.
        wanted: Kind that the command expects.

    Returns:
        Predicate and remedy for a message, such as "is a run folder: …"; an empty text if nothing is at the path, or
        nothing that partsight knows.
    """
    try:
        kind, inside = _find_kind(path)
    except OSError:
        return ""
    remedies = _REMEDIES[wanted]
    if kind == "images" and wanted != "catalog":
        kind = f"{_kind_of_folder(path.parent)}_file" if _kind_of_folder(path.parent) else kind  # such as a gallery
    if kind == wanted or kind not in _NOUNS or (wanted in ("catalog", "image") and kind not in remedies):
        return ""
    text = f"{_NOUNS[kind]}: {remedies[kind]}" if kind in remedies else _NOUNS[kind]
    return text.format(path=path, parent=path.parent, inside=inside)


def _find_kind(path: Path) -> tuple[str, Path]:
    """Return the kind of a folder or file, and the inner folder that the user means; raises OSError."""
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return _kind_of_file(path), path
    if not stat.S_ISDIR(mode):
        return "", path
    kind = _kind_of_folder(path)
    return (kind, path) if kind else _look_into(path)


def _look_into(path: Path) -> tuple[str, Path]:
    """Return the kind of a folder that is not a package or run folder, and the inner folder that the user means."""
    with os.scandir(path) as entries:
        found = [Path(entry.path) for entry in itertools.islice(entries, _MAX_ENTRIES)]
    if not found:
        return "empty", path
    if any(item.suffix == ".onnx" for item in found):
        return "", path  # a package that lost its manifest
    inner = [(kind, item) for item in found if (kind := _kind_of_folder(item))]
    if len(inner) == 1:
        return f"outer_{inner[0][0]}", inner[0][1]
    return "images" if any(_holds_image(item) for item in found) else "", path


def _kind_of_folder(folder: Path) -> str:
    if os.path.isfile(folder / _RECORD):  # noqa: PTH113 (Path.is_file raises where it may not look)
        return "run"
    if os.path.isfile(folder / _MANIFEST):  # noqa: PTH113
        return "package"
    return ""


def _kind_of_file(path: Path) -> str:
    suffix = path.suffix.lower()
    kind = _kind_of_folder(path.parent)
    if kind and (path.name in (_MANIFEST, _RECORD) or suffix in (".onnx", *_KERAS)):
        return f"{kind}_file"
    if suffix in _KERAS:
        return "keras"
    if suffix == ".onnx":
        return "onnx"
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "archive" if suffix in _ARCHIVES or zipfile.is_zipfile(path) else "file"


def _holds_image(item: Path) -> bool:
    if item.suffix.lower() in IMAGE_SUFFIXES:
        return True
    if not os.path.isdir(item):  # noqa: PTH112
        return False
    with os.scandir(item) as entries:
        return any(Path(entry.name).suffix.lower() in IMAGE_SUFFIXES for entry in itertools.islice(entries, 100))
