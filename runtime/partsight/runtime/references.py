"""References: the golden images that frames are laid over, made ready when they are first needed."""

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from partsight.runtime.alignment import LEVELS_PX, Template, Update, level_size, pyramid
from partsight.runtime.errors import PackageError
from partsight.runtime.image_header import has_too_many_scans, size_of
from partsight.runtime.images import Pixels
from partsight.runtime.memory import settle
from partsight.runtime.outlines import Outlines
from partsight.runtime.session import FloatArray

_SMOOTHING_PX = 1.0
_MOST_READY = 64  # 1.2 MB each at most
_MOST_MIDDLES = 4096  # 8 kB each at most
_JPEG_QUALITY = 95
_LARGEST_SIDE_PX = 1024
_SUM = np.ones((1, 3), np.float32)  # by OpenCV: NumPy sums over an axis of three a number at a time


def smooth(image: Pixels) -> FloatArray:
    """Return an image as float32 without the noise of single pixels."""
    return np.asarray(cv2.GaussianBlur(image.astype(np.float32), (0, 0), _SMOOTHING_PX), np.float32)


def square_sum(image: np.ndarray) -> FloatArray:
    """Return (height, width) float32: the squares of a (height, width, 3) image, summed over channels."""
    return np.asarray(cv2.transform(cv2.multiply(image, image), _SUM), np.float32)


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
    """A golden image made ready for comparison.

    Attributes:
        template: for alignment.
        image: (height, width, 3) float32 BGR, smoothed.
        slope: (height, width) float32: square of its gradient, summed over channels, in grey levels² a pixel².
    """

    template: Template
    image: FloatArray
    slope: FloatArray

    @classmethod
    def of(cls, image_bgr: Pixels) -> "Reference":
        """Make a golden image ready: (height, width, 3) uint8 BGR."""
        template, image = Template.of(image_bgr), smooth(image_bgr)
        slope_x, slope_y = (square_sum(cv2.Sobel(image, cv2.CV_32F, *axis, scale=1 / 8)) for axis in ((1, 0), (0, 1)))
        updates = (template.coarse, template.middle, template.fine)
        image, slope, *slopes = settle([image, slope_x + slope_y, *(update.slopes for update in updates)])
        return cls(Template(*map(_with_slopes, updates, slopes)), image, slope)


def _with_slopes(update: Update, slopes: FloatArray) -> Update:
    return dataclasses.replace(update, slopes=slopes)


class References:
    """The golden images of all classes, made ready when first needed; the latest stay in memory. Thread-safe.

    A shortlist needs little of each, finalists need all: so that little, the middle level, stays for many more.
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
        width, height = level_size(size_hw, LEVELS_PX[1])
        self._middles = np.empty((_MOST_MIDDLES, height, width), np.float16)  # pages that are not used yet take nothing
        self._places: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, index: int) -> Reference:
        """Return the reference of a class; raises PackageError if its picture is damaged."""
        with self._lock:
            if index in self._ready:
                self._ready.move_to_end(index)
                return self._ready[index]
        reference = Reference.of(self.image(index))
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

    def middles(self, indices: Sequence[int]) -> FloatArray:
        """Return (classes, height, width) float32: the level before the finest, see `alignment.pyramid`.

        Raises:
            PackageError: a picture is damaged.
        """
        found = np.empty((len(indices), *self._middles.shape[1:]), np.float32)
        with self._lock:
            kept = [place for place, index in enumerate(indices) if index in self._places]
            found[kept] = self._middles[[self._place(indices[place]) for place in kept]]
        for place in set(range(len(indices))).difference(kept):
            middle = pyramid(self.image(indices[place]))[1].astype(np.float16)
            found[place] = middle  # rounded as the kept ones: the same answer each time
            with self._lock:
                self._middles[self._place(indices[place])] = middle
        return found

    def _place(self, index: int) -> int:
        """Return where the middle level of a class lies or is to lie: in place of what was not used for longest."""
        place = self._places.pop(index, None)
        if place is None:
            place = len(self._places) if len(self._places) < _MOST_MIDDLES else self._places.popitem(last=False)[1]
        self._places[index] = place
        return place
