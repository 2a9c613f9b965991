"""Frames to measure on: varied golden images of the package, or image files of the line."""

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
"""(width, height) in pixels, as many cameras of a line deliver."""


def golden_frames(package: ModelPackage, size: tuple[int, int] | None, seed: int = 0) -> Iterator[Pixels]:
    """Yield varied golden images without end: all parts in a random order, then all again.

    Args:
        package: Package that holds the golden images.
        size: (width, height) of the frames in pixels; None for `DEFAULT_SIZE`, or as the package's region needs it.
        seed: Seed of order and variation; the same seed gives the same frames.

    Yields:
        Frames, (height, width, 3) uint8 BGR, or (height, width) uint8 if the package sees grey.

    Raises:
        PackageError: The package holds no golden images.
        FrameError: The package's region does not fit into the size.
    """
    spec, rng = package.manifest.preprocess, np.random.default_rng(seed)
    if package.manifest.matching is None:
        raise PackageError(
            f"{package.path}: the package holds no golden images to make frames from. Name a folder with images of the "
            "line: --frames FOLDER"
        )
    size = size or _large_enough(spec)
    while True:
        for index in rng.permutation(len(package.manifest.labels)):
            varied = vary(package.golden_image(int(index)), Variation(), rng)
            yield check_frame(_enlarge(varied, spec, size), spec)


def folder_frames(folder: Path, spec: PreprocessSpec, size: tuple[int, int] | None, seed: int = 0) -> Iterator[Pixels]:
    """Yield the images of a folder and its subfolders once, in a random order.

    Args:
        folder: Folder of images.
        spec: Preprocessing of the package, which the images must fit.
        size: (width, height) in pixels to resize them to; None leaves them as they are.
        seed: Seed of the order.

    Yields:
        Frames, (height, width, 3) uint8 BGR.

    Raises:
        CameraError: The folder does not exist, or holds no image.
        ImageError: A file cannot be read, or an entry that may be an image cannot be opened.
        FrameError: An image does not fit the package; the message names the file.
    """
    paths = find_images(folder)
    for index in np.random.default_rng(seed).permutation(len(paths)):
        frame = read_image(paths[index])
        try:
            yield check_frame(frame if size is None else _resize(frame, size), spec)
        except FrameError as error:
            raise FrameError(f"{paths[index]}: {error}") from error


def _large_enough(spec: PreprocessSpec) -> tuple[int, int]:
    region = spec.region
    if region is None:
        return DEFAULT_SIZE
    if spec.golden_hw is not None:
        return spec.golden_hw[1], spec.golden_hw[0]
    return max(DEFAULT_SIZE[0], region.x + region.width), max(DEFAULT_SIZE[1], region.y + region.height)


def _enlarge(image: Pixels, spec: PreprocessSpec, size: tuple[int, int]) -> Pixels:
    """Enlarge a golden image to a frame; if the package sees only a region, put the part into that region."""
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
