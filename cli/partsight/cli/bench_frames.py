"""Frames to measure on: the package's golden images as a camera might see them, or files of the line."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from partsight.runtime.calibration import Variation, vary
from partsight.runtime.cameras import find_images
from partsight.runtime.core import FrameError, PackageError, Pixels
from partsight.runtime.images import PreprocessSpec, check_frame, read_image
from partsight.runtime.package import ModelPackage

DEFAULT_SIZE = (1280, 1024)
"""(width, height) in pixels: what many cameras of a line deliver."""


def golden_frames(package: ModelPackage, size: tuple[int, int] | None, seed: int = 0) -> Iterator[Pixels]:
    """Yield varied golden images without end, each time another part until all have had their turn.

    Args:
        package: whose references are shown.
        size: (width, height) of the frames; None for `DEFAULT_SIZE`, or as the package's region needs it.
        seed: of order and variation; the same one gives the same frames.

    Raises:
        PackageError: the package has no references.
        FrameError: the package's region does not fit into the size.
    """
    spec, rng = package.manifest.preprocess, np.random.default_rng(seed)
    if package.manifest.matching is None:
        raise PackageError(
            f"{package.path}: the package holds no golden images to make frames of; expected some of the line's own: "
            "name a folder of them with --frames FOLDER"
        )
    size = size or _large_enough(spec)
    while True:
        for index in rng.permutation(len(package.manifest.labels)):
            varied = vary(package.golden_image(int(index)), Variation(), rng)
            yield check_frame(_place(varied, spec, size), spec)


def folder_frames(folder: Path, spec: PreprocessSpec, size: tuple[int, int] | None, seed: int = 0) -> Iterator[Pixels]:
    """Yield the images of a folder and its subfolders once, in an order drawn by chance.

    Args:
        folder: of images.
        spec: the package's preprocessing, which they must fit.
        size: (width, height) to bring them to; None for as they are.
        seed: of the order.

    Raises:
        CameraError: there is no such folder, or no image in it.
        ImageError: a file cannot be read, or an entry of the folder may be an image and cannot be taken.
        FrameError: an image does not fit the package; the message names the file.
    """
    paths = find_images(folder)
    for place in np.random.default_rng(seed).permutation(len(paths)):
        frame = read_image(paths[place])
        try:
            yield check_frame(frame if size is None else _resize(frame, size), spec)
        except FrameError as error:
            raise FrameError(f"{paths[place]}: {error}") from error


def _large_enough(spec: PreprocessSpec) -> tuple[int, int]:
    region = spec.region
    if region is None:
        return DEFAULT_SIZE
    if spec.golden_hw is not None:
        return spec.golden_hw[1], spec.golden_hw[0]
    return max(DEFAULT_SIZE[0], region.x + region.width), max(DEFAULT_SIZE[1], region.y + region.height)


def _place(image: Pixels, spec: PreprocessSpec, size: tuple[int, int]) -> Pixels:
    """Enlarge a reference to a frame; where the package looks at a region only, the part lies in there."""
    image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8) if spec.color == "mono" else image
    frame = _resize(image, size)
    region = spec.region
    if region is not None:
        check_frame(frame, spec)
        inside = _resize(image, (region.width, region.height))
        frame[region.y : region.y + region.height, region.x : region.x + region.width] = inside
    return frame


def _resize(image: Pixels, size: tuple[int, int]) -> Pixels:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
