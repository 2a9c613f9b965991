"""References: the golden images that frames are laid over, made ready when they are first needed."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from partsight.runtime.alignment import LEVELS_PX, Update, finest, level_size, pyramid
from partsight.runtime.errors import PackageError
from partsight.runtime.image_header import has_too_many_scans, size_of
from partsight.runtime.images import Pixels
from partsight.runtime.memory import Pieces
from partsight.runtime.outlines import Outlines
from partsight.runtime.screening import BORDER_SHARE
from partsight.runtime.session import FloatArray

_SMOOTHING_PX = 1.0
_MOST_READY = 64  # a megabyte each at most
_SPARE = 8  # for those that others still use when they are pushed out
MOST_LEVELS = 4096
"""Classes whose levels stay, 10 kB each at most."""

_JPEG_QUALITY = 95
_LARGEST_SIDE_PX = 1024
_SUM = np.ones((1, 3), np.float32)  # by OpenCV: NumPy sums over an axis of three a number at a time


def smooth(image: Pixels) -> FloatArray:
    """Return an image as float32 without the noise of single pixels."""
    return np.asarray(cv2.GaussianBlur(image.astype(np.float32), (0, 0), _SMOOTHING_PX), np.float32)


def square_sum(image: np.ndarray) -> FloatArray:
    """Return (height, width) float32: the squares of a (height, width, 3) image, summed over channels."""
    return _channels_together(cv2.multiply(image, image))


def _channels_together(image: np.ndarray) -> FloatArray:
    return np.asarray(cv2.transform(image, _SUM), np.float32)


def channel_sums(first: FloatArray, second: FloatArray) -> tuple[float, ...]:
    """Return the sum of the products of two (height, width, 3) images, for each channel."""
    return tuple(cv2.sumElems(cv2.multiply(first, second))[:3])


def inner(image: FloatArray) -> FloatArray:
    """Return an image without its border, which a shifted frame does not show."""
    border = max(2, round(max(image.shape[:2]) * BORDER_SHARE))
    return image[border:-border, border:-border]


def encode_reference(image_bgr: Pixels) -> bytes:
    """Return a golden image as it lies in a package: JPEG, colour at full resolution."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        _JPEG_QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    _, encoded = cv2.imencode(".jpg", image_bgr, options)
    return np.asarray(encoded, np.uint8).tobytes()


def decode_reference(data: bytes, source: str) -> Pixels:
    """Return (height, width, 3) uint8 BGR.

    Args:
        data: of `encode_reference`.
        source: where it came from, for messages.

    Raises:
        PackageError: it is not an image, or of more pixels than a reference ever has.
    """
    size_hw = size_of(data)
    if size_hw is None or has_too_many_scans(data):
        raise PackageError(f"{source}: is not an image; export the package again")
    if max(size_hw) > _LARGEST_SIDE_PX:
        raise PackageError(
            f"{source}: is not an image of at most {_LARGEST_SIDE_PX} px on a side, but of {size_hw[1]}×{size_hw[0]}; "
            "export the package again"
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise PackageError(f"{source}: is a damaged image ({error}); export the package again") from error
    if image is None or image.shape[:2] != size_hw:
        raise PackageError(f"{source}: is a damaged image; export the package again")
    return np.asarray(image, np.uint8)


@dataclass(frozen=True)
class Reference:
    """A golden image made ready to be compared in full.

    Attributes:
        fine: how differences become steps on the finest level.
        image: (height, width, 3) float32 BGR, smoothed, without its border.
        slope: (height, width) float32: square of its gradient, summed over channels, in grey levels² a pixel².
        squares: sum of the squares of each channel of `image`.
    """

    fine: Update
    image: FloatArray
    slope: FloatArray
    squares: tuple[float, ...]

    @classmethod
    def of(cls, image_bgr: Pixels, pieces: Pieces) -> "Reference":
        """Make a golden image ready.

        Args:
            image_bgr: (height, width, 3) uint8 BGR.
            pieces: memory for it.
        """
        golden, smoothed = finest(image_bgr), smooth(image_bgr)
        seen = inner(smoothed)
        slopes, image, slope = pieces.take([(6, *golden.shape), seen.shape, seen.shape[:2]])
        np.copyto(image, seen)
        slope_x, slope_y = (cv2.Sobel(smoothed, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))
        square = cv2.multiply(slope_x, slope_x)
        np.copyto(slope, inner(_channels_together(cv2.accumulateSquare(slope_y, square))))
        reference = cls(Update.of(golden, with_tilt=True, out=slopes), image, slope, channel_sums(image, image))
        for array in (slopes, image, slope):
            array.flags.writeable = False  # all callers share them
        return reference


class References:
    """The golden images of all classes, made ready when first needed; the latest stay in memory. Thread-safe.

    A shortlist needs the levels before the finest alone, finalists need all: so those levels stay for many more.
    """

    def __init__(
        self, load: Callable[[int], Pixels], size_hw: tuple[int, int], outlines: Outlines | None = None
    ) -> None:
        """Take where they come from.

        Args:
            load: returns the golden image of a class, (height, width, 3) uint8 BGR.
            size_hw: what height and width must be.
            outlines: of all classes; None where frames are not screened against them.
        """
        self.outlines = outlines
        self._load = load
        self._size_hw = size_hw
        self._ready: OrderedDict[int, Reference] = OrderedDict()
        self._pieces = Pieces(_MOST_READY + _SPARE)
        sizes = (level_size(size_hw, longest)[::-1] for longest in LEVELS_PX[:2])
        # Pages that are not used yet take no memory.
        self._levels = [np.empty((MOST_LEVELS, *size), np.float16) for size in sizes]
        self._places: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, index: int) -> Reference:
        """Return the reference of a class; raises PackageError if its picture is damaged."""
        with self._lock:
            if index in self._ready:
                self._ready.move_to_end(index)
                return self._ready[index]
        reference = Reference.of(self.image(index), self._pieces)
        with self._lock:
            self._ready[index] = reference
            self._ready.move_to_end(index)
            if len(self._ready) > _MOST_READY:
                self._ready.popitem(last=False)
        return reference

    def image(self, index: int) -> Pixels:
        """Return the golden image of a class alone, and keep nothing.

        Returns:
            (height, width, 3) uint8 BGR.

        Raises:
            PackageError: the picture is damaged.
        """
        image = self._load(index)
        if image.shape != (*self._size_hw, 3):
            raise PackageError(
                f"the reference of class {index} has shape {image.shape}; expected {(*self._size_hw, 3)}: "
                "export the package again"
            )
        return image

    def levels(self, indices: Sequence[int]) -> tuple[FloatArray, FloatArray]:
        """Return what a shortlist needs of classes: the levels before the finest, see `alignment.pyramid`.

        Returns:
            Two of (classes, height, width) float32, coarse and middle.

        Raises:
            PackageError: a picture is damaged.
        """
        coarse, middle = (np.empty((len(indices), *kept.shape[1:]), np.float32) for kept in self._levels)
        with self._lock:
            there = [place for place, index in enumerate(indices) if index in self._places]
            rows = [self._place(indices[place]) for place in there]
            for found, kept in zip((coarse, middle), self._levels, strict=True):
                found[there] = kept[rows]
        for place in sorted(set(range(len(indices))).difference(there)):
            made = pyramid(self.image(indices[place]))
            with self._lock:
                row = self._place(indices[place])
                for found, kept, level in zip((coarse, middle), self._levels, made, strict=False):
                    kept[row] = level
                    found[place] = kept[row]  # rounded as the kept ones: the same answer each time
        return coarse, middle

    def _place(self, index: int) -> int:
        """Return where the levels of a class lie or are to lie: in place of what was not used for longest."""
        place = self._places.pop(index, None)
        if place is None:
            place = len(self._places) if len(self._places) < MOST_LEVELS else self._places.popitem(last=False)[1]
        self._places[index] = place
        return place
