"""The golden check: whether a new golden image was taken as the golden images of the package were.

A part that is replaced has an old golden image. The check lays the new one over it; see `calibration.setup_check`. A
part that is new has none, so the check compares only properties that all pictures of one camera share: their size, the
light and the colour of the background, sharpness, and the grain of even areas. Noise, compression and resizing give
grain a size in pixels, so a resized picture has grain of another size.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

import cv2
import numpy as np

from partsight.runtime.calibration import find_misfit
from partsight.runtime.core import FloatArray, Pixels
from partsight.runtime.enrolment.new_parts import NewPartImages
from partsight.runtime.images import preprocess
from partsight.runtime.matching import Appearance, Bank, Matcher, appearance_of
from partsight.runtime.package import Manifest, ModelPackage, decode_golden_image, resized
from partsight.runtime.recognition import Answer, decide_matched

_MAX_GOLDENS = 192  # golden images of the package that are measured; it takes a second
_RARE_SHARE = 0.005  # of these images, beyond each limit
_MARGIN, _MARGIN_OF_FEW = 0.1, 4.0  # shares of the range's width: fixed, and divided by the number of images
_MIN_GOLDENS = 3
_MIN_MARGINS = (0.15, 0.03, 0.03, 0.4, 0.03, 0.03, 0.03)  # in the order of `Measures`
_MAX_STRETCH = 1.04  # ratio of two pictures' aspects

_SENTENCES = {
    ("level_ev", -1): "its background is darker than theirs by {by:.1f} EV; take it with the same light and exposure",
    ("level_ev", 1): "its background is brighter than theirs by {by:.1f} EV; take it with the same light and exposure",
    (
        "sharpness",
        -1,
    ): "it is less sharp than they are; set the focus as on the line, and do not enlarge or filter pictures",
}
_COLOUR = "its background has another colour; take it with the same light, white balance and channel order"
_GRAIN = (
    "the grain of its background differs, so its scale, focus or gain may differ; take it with the line's camera, "
    "lens, gain and distance, and do not resize, filter or save it again"
)


@dataclass(frozen=True)
class Measures:
    """Properties of a picture that hardly depend on the part in it; each is a logarithm to the base 2.

    Attributes:
        level_ev: Grey level of the border.
        blue, red: Ratios of the border's blue and red to its green.
        sharpness: Ratio of the energy of fine detail to that of coarse detail.
        grain, coarse_grain: Energy of the most even areas, at the scale of half a pixel and of a pixel.
        grain_size: Ratio of `grain` to `coarse_grain`.
    """

    level_ev: float
    blue: float
    red: float
    sharpness: float
    grain: float
    coarse_grain: float
    grain_size: float


def measure(image: Pixels) -> Measures:
    """Measure a picture.

    Args:
        image: Picture at the size of the golden images in the package, (height, width, 3) uint8 BGR.
    """
    edge = max(2, max(image.shape) // 24)
    border = np.concatenate([image[:edge].reshape(-1, 3), image[-edge:].reshape(-1, 3)])
    border = np.concatenate([border, image[:, :edge].reshape(-1, 3), image[:, -edge:].reshape(-1, 3)])
    blue, green, red = np.log2(np.maximum(np.median(border, axis=0), 0.5))
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.float32)
    half = np.asarray(cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)
    fine, middle = _band(grey, 0.5, 1.0), _band(grey, 1.0, 1.6)
    sharpness = math.log2((middle.mean() + 1e-3) / (_band(half, 1.0, 4.0).mean() + 1e-3))
    grain, coarse_grain = _even(fine), _even(middle)
    return Measures(
        float(green), float(blue - green), float(red - green), sharpness, grain, coarse_grain, grain - coarse_grain
    )


def _band(grey: FloatArray, inner_px: float, outer_px: float) -> FloatArray:
    band = cv2.subtract(cv2.GaussianBlur(grey, (0, 0), inner_px), cv2.GaussianBlur(grey, (0, 0), outer_px))
    return np.asarray(np.square(np.asarray(band)), np.float32)


def _even(energy: FloatArray) -> float:
    """Return the energy of even areas: a fifth of all areas has less."""
    areas = np.asarray(cv2.blur(energy, (8, 8)))[4:-4:4, 4:-4:4]
    return math.log2(float(np.quantile(areas, 0.2)) + 1e-3)


@dataclass(frozen=True)
class MeasureRanges:
    """Ranges of the measures of a package's golden images; (7,) each, in the order of `Measures`."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, images: Iterable[Pixels]) -> "MeasureRanges | None":
        """Measure golden images; None if there are too few of them to tell a range."""
        found = np.array([astuple(measure(image)) for image in images])
        if len(found) < _MIN_GOLDENS:
            return None
        low, high = np.quantile(found, [_RARE_SHARE, 1 - _RARE_SHARE], axis=0)
        margin = np.maximum((high - low) * (_MARGIN + _MARGIN_OF_FEW / len(found)), _MIN_MARGINS)
        return cls(tuple((low - margin).tolist()), tuple((high + margin).tolist()))

    def misfits(self, measures: Measures) -> list[str]:
        """Return a sentence for each unusual property; grain only if neither light nor focus explains it."""
        excess = {}
        for (name, value), low, high in zip(vars(measures).items(), self.low, self.high, strict=True):
            excess[name] = min(0.0, value - low) + max(0.0, value - high)
        found = [
            _SENTENCES[name, int(np.sign(excess[name]))].format(by=self._from_middle(measures, name))
            for name in ("level_ev", "sharpness")
            if (name, np.sign(excess[name])) in _SENTENCES
        ]
        if excess["blue"] or excess["red"]:
            found.append(_COLOUR)
        if not found and (excess["grain"] or excess["coarse_grain"] or excess["grain_size"]):
            found.append(_GRAIN)
        return found

    def _from_middle(self, measures: Measures, name: str) -> float:
        index = list(vars(measures)).index(name)
        return abs(float(getattr(measures, name)) - (self.low[index] + self.high[index]) / 2)


def find_misfits(
    package: ModelPackage, parts: Sequence[NewPartImages], records: np.ndarray | None
) -> Mapping[str, tuple[str, ...]]:
    """Compare new golden images with the golden images of a package.

    Args:
        package: Package before the enrolment.
        parts: Golden images of parts to add or replace.
        records: Records of the package's bank; None if it has no matching: then the check compares only sizes.

    Returns:
        By label, sentences that name an unusual property and its remedy; none if all properties are usual.

    Raises:
        PackageError: a golden image of the package is damaged.
    """
    if not parts:
        return {}
    ranges = _ranges_of(package)
    return {part.label: _misfits_of(package, part, ranges, records) for part in parts}


def _ranges_of(package: ModelPackage) -> MeasureRanges | None:
    """Measure golden images of a package, evenly chosen; None if it has no matching."""
    if package.manifest.matching is None:
        return None
    last = len(package.manifest.labels) - 1
    chosen = sorted(set(np.linspace(0, last, _MAX_GOLDENS).round().astype(int).tolist()))
    return MeasureRanges.of(package.golden_image(index) for index in chosen)


def _misfits_of(
    package: ModelPackage, part: NewPartImages, ranges: MeasureRanges | None, records: np.ndarray | None
) -> tuple[str, ...]:
    found = []
    if part.label in package.manifest.labels and records is not None:
        found += _misfits_to_old(package, part, records)
    if not found:
        found = [text for index in range(len(part.images)) for text in _unusual(package, part, index, ranges)]
    return tuple(dict.fromkeys(found))


def _unusual(package: ModelPackage, part: NewPartImages, index: int, ranges: MeasureRanges | None) -> list[str]:
    path = part.images.paths[index]
    found = _size_misfit(package.manifest, part.images[index].shape[:2])
    if ranges is not None:
        found += ranges.misfits(measure(decode_golden_image(part.references[index], str(path))))
    return [f"{path} differs from the golden images of the package: {text}" for text in found]


def _size_misfit(manifest: Manifest, size_hw: tuple[int, ...]) -> list[str]:
    spec, matching = manifest.preprocess, manifest.matching
    (height, width), remedy = size_hw, "take it with the line's camera, and do not crop or resize it"
    if spec.golden_hw is not None and size_hw != spec.golden_hw:
        expected = f"{spec.golden_hw[1]}×{spec.golden_hw[0]} px"
        return [f"it has {width}×{height} px and they have {expected}, so its scale may differ; {remedy}"]
    if matching is None or spec.region is not None or spec.golden_hw is not None:
        return []
    stretch = width / height * matching.spec.height / matching.spec.width
    if max(stretch, 1 / stretch) > _MAX_STRETCH:
        aspect, expected_aspect = width / height, matching.spec.width / matching.spec.height
        return [f"it is {aspect:.2f} times as wide as high, and they are {expected_aspect:.2f}; {remedy}"]
    return []


def _misfits_to_old(package: ModelPackage, part: NewPartImages, records: np.ndarray) -> list[str]:
    """Lay each new golden image of a part over its old one."""
    old = _OldPart(package, package.manifest.labels.index(part.label), records)
    found = []
    for path, image in zip(part.images.paths, part.images, strict=True):
        if old.recognize_batch([image])[0].accepted:
            continue
        check = find_misfit(old, [image], least=1)
        if check is not None and check.fits is not None:
            found.append(f"{path} fits the part's old golden image {check.fits.describe()}")
    return found


class _OldPart:
    """One part of a package, which judges new golden images of itself; see `calibration.setup_check.Judge`."""

    def __init__(self, package: ModelPackage, index: int, records: np.ndarray) -> None:
        matching = package.manifest.matching
        assert matching is not None  # there are records
        self.manifest, self.decision, self._spec = package.manifest, matching.decision, matching.spec
        self._matcher = Matcher(Bank.of(records), matching.spec)
        self._excluded = np.arange(len(package.manifest.labels)) != index
        self._golden = resized(package.golden_image(index), matching.spec.size_hw)

    def recognize_batch(self, frames: Sequence[Pixels]) -> list[Answer]:
        batch = self._prepared(frames)
        score = np.zeros((len(frames), len(self._excluded)), np.float32)
        matches = self._matcher.match(batch, score, np.repeat(self._excluded[None], len(frames), axis=0))
        return decide_matched(matches, self._matcher.bank, self._spec, self.manifest.labels, self.decision.rule, 1)

    def appearance(self, frame: Pixels, _: str) -> Appearance:
        return appearance_of(self._prepared([frame])[0], self._golden)

    def golden_image(self, _: str) -> Pixels:
        return self._golden

    def _prepared(self, frames: Sequence[Pixels]) -> Pixels:
        return preprocess(frames, self._spec.preprocess(self.manifest.preprocess))
