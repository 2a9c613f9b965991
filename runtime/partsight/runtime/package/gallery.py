"""The gallery: golden images as JPEG files in a package, at the size of the comparison with frames."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from partsight.runtime.core import PackageError, Pixels
from partsight.runtime.images import PreprocessSpec, has_too_many_scans, preprocess, size_of
from partsight.runtime.matching import Bank, MatchingSpec, prepare_all

_JPEG_QUALITY = 95
_MAX_SIDE_PX = 1024


@dataclass(frozen=True)
class Gallery:
    """References in the form that a package holds, prepared for matching.

    Attributes:
        files: One JPEG file for each reference, in the order of the bank.
        records: One record of the bank for each reference, (references,).
    """

    files: tuple[bytes, ...]
    records: np.ndarray

    @property
    def golden_files(self) -> tuple[bytes, ...]:
        """File of the golden image of each class, which is the class's first reference, in order."""
        return tuple(self.files[row] for row in self.bank.references_of[:, 0])

    @property
    def bank(self) -> Bank:
        """The bank of a package with these references; each class from 0 on must have one."""
        return Bank.of(self.records)


def prepare_gallery(
    references: Iterable[Pixels], spec: PreprocessSpec, matching: MatchingSpec, class_of: Sequence[int] | None = None
) -> Gallery:
    """Preprocess, encode, decode and prepare each reference once.

    The records come from the decoded files: a threshold that is found with them holds on the line, which compares
    frames with these files.

    Args:
        references: Golden images and further references, at least one, each (height, width, 3) or (height, width)
            uint8; each is read once.
        spec: Preprocessing of the network.
        matching: Size of the references.
        class_of: Class of each reference; None for one of each class, in order.
    """
    files: list[bytes] = []

    def decoded() -> Iterator[Pixels]:
        for reference in references:
            files.append(encode_golden_image(preprocess([reference], matching.preprocess(spec))[0]))
            yield decode_golden_image(files[-1], f"golden image {len(files)}")

    records = prepare_all(decoded(), class_of)
    return Gallery(tuple(files), records)


def encode_golden_image(image_bgr: Pixels) -> bytes:
    """Return the file of a golden image: JPEG of quality 95, colour at full resolution.

    Args:
        image_bgr: Image, (height, width, 3) uint8 BGR.
    """
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        _JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    _, encoded = cv2.imencode(".jpg", image_bgr, options)
    return np.asarray(encoded, np.uint8).tobytes()


def decode_golden_image(data: bytes, source: str) -> Pixels:
    """Return a golden image, (height, width, 3) uint8 BGR.

    Args:
        data: Bytes of the file.
        source: Path of the file, for messages.

    Raises:
        PackageError: the file is not an image, is damaged, or is larger than any golden image in a package.
    """
    size_hw = size_of(data)
    if size_hw is None or has_too_many_scans(data):
        raise PackageError(f"{source}: is not an image; export the package again")
    if max(size_hw) > _MAX_SIDE_PX:
        raise PackageError(
            f"{source}: has {size_hw[1]}×{size_hw[0]} px; expected at most {_MAX_SIDE_PX} px on a side: export the "
            "package again"
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise PackageError(f"{source}: is a damaged image ({error}); export the package again") from error
    if image is None or image.shape[:2] != size_hw:
        raise PackageError(f"{source}: is a damaged image; export the package again")
    return np.asarray(image, np.uint8)


def resized(image_bgr: Pixels, size_hw: tuple[int, int]) -> Pixels:
    """Return a golden image at the size of the comparison, from which schema version 1 may differ by some pixels.

    Args:
        image_bgr: Image, (height, width, 3) uint8 BGR.
        size_hw: Height and width of the result, in pixels.
    """
    if image_bgr.shape[:2] == size_hw:
        return image_bgr
    return np.asarray(cv2.resize(image_bgr, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
