"""The golden check: whether a new golden image was taken as those of the package were.

A part that is replaced has an old golden image, over which the new one is laid; see `setup_check`. Of a part that is
new, only what all pictures of one camera have in common can be compared: their size, the light and the colour of the
background, sharpness, and the grain of even areas. Noise, compression and resizing give grain a size in pixels, so
that it changes with the scale of a resized picture.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

import cv2
import numpy as np

from partsight.runtime.calibration import find_misfit
from partsight.runtime.core import FloatArray, Pixels
from partsight.runtime.enrolment.new_parts import Newcomer
from partsight.runtime.images import preprocess
from partsight.runtime.matching import Appearance, Bank, Matcher, appearance_of
from partsight.runtime.package import Manifest, ModelPackage, decode_reference, resized
from partsight.runtime.recognition import Answer, decide_matched

_MAX_GOLDENS = 192  # of the package that are measured: a second
_RARE_SHARE = 0.005  # of them, beyond each limit
_MARGIN, _MARGIN_OF_FEW = 0.1, 4.0  # of the range's width; the second divided by their number is added
_MIN_GOLDENS = 3
_MIN_MARGINS = (0.15, 0.03, 0.03, 0.4, 0.03, 0.03, 0.03)  # in the order of `Look`
_MAX_STRETCH = 1.04  # of a picture's aspect

_SAID = {
    ("level_ev", -1): "its background is darker than theirs by {by:.1f} EV; take it with the same light and exposure",
    ("level_ev", 1): "its background is brighter than theirs by {by:.1f} EV; take it with the same light and exposure",
    (
        "sharpness",
        -1,
    ): "it is blurred next to them; set the focus as on the line, and do not enlarge or filter pictures",
}
_COLOUR = "its background has another colour; take it with the same light, white balance and channel order"
_GRAIN = (
    "its scale, focus or gain may differ, since the grain of its background is not theirs; take it with the line's "
    "camera, lens, gain and distance, and do not enlarge, shrink, filter or save it anew"
)


@dataclass(frozen=True)
class Look:
    """Measures of one picture that hardly depend on the part in it; all are powers of two.

    Attributes:
        level_ev: grey level of the border.
        blue, red: the border's against its green.
        sharpness: energy of fine detail against coarse.
        grain, coarse_grain: energy of the most even areas, at half a pixel and at a pixel.
        grain_size: the first against the second.
    """

    level_ev: float
    blue: float
    red: float
    sharpness: float
    grain: float
    coarse_grain: float
    grain_size: float


def look_of(image: Pixels) -> Look:
    """Measure a picture, (height, width, 3) uint8 BGR, at the size of golden images in the package."""
    edge = max(2, max(image.shape) // 24)
    border = np.concatenate([image[:edge].reshape(-1, 3), image[-edge:].reshape(-1, 3)])
    border = np.concatenate([border, image[:, :edge].reshape(-1, 3), image[:, -edge:].reshape(-1, 3)])
    blue, green, red = np.log2(np.maximum(np.median(border, axis=0), 0.5))
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.float32)
    half = np.asarray(cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)
    fine, middle = _band(grey, 0.5, 1.0), _band(grey, 1.0, 1.6)
    sharpness = math.log2((middle.mean() + 1e-3) / (_band(half, 1.0, 4.0).mean() + 1e-3))
    grain, coarse_grain = _even(fine), _even(middle)
    return Look(
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
class Looks:
    """The range in which the golden images of a package look; each field of a `Look` has its own, in order."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, images: Iterable[Pixels]) -> "Looks | None":
        """Measure golden images; None where they are too few to say how others look."""
        found = np.array([astuple(look_of(image)) for image in images])
        if len(found) < _MIN_GOLDENS:
            return None
        low, high = np.quantile(found, [_RARE_SHARE, 1 - _RARE_SHARE], axis=0)
        margin = np.maximum((high - low) * (_MARGIN + _MARGIN_OF_FEW / len(found)), _MIN_MARGINS)
        return cls(tuple((low - margin).tolist()), tuple((high + margin).tolist()))

    def misfits(self, look: Look) -> list[str]:
        """Say what is unusual about a picture; where light or focus explain its grain, only those."""
        sides = {}
        for (name, value), low, high in zip(vars(look).items(), self.low, self.high, strict=True):
            sides[name] = min(0.0, value - low) + max(0.0, value - high)
        found = [
            _SAID[name, int(np.sign(sides[name]))].format(by=self._from_middle(look, name))
            for name in ("level_ev", "sharpness")
            if (name, np.sign(sides[name])) in _SAID
        ]
        if sides["blue"] or sides["red"]:
            found.append(_COLOUR)
        if not found and (sides["grain"] or sides["coarse_grain"] or sides["grain_size"]):
            found.append(_GRAIN)
        return found

    def _from_middle(self, look: Look, name: str) -> float:
        place = list(vars(look)).index(name)
        return abs(float(getattr(look, name)) - (self.low[place] + self.high[place]) / 2)


def find_misfits(
    package: ModelPackage, newcomers: Sequence[Newcomer], records: np.ndarray | None
) -> Mapping[str, tuple[str, ...]]:
    """Compare new golden images with those of a package.

    Args:
        package: the package before the enrolment.
        newcomers: parts to add or replace, read.
        records: of the package's bank; None where it compares no golden images, and little can be said.

    Returns:
        By label, sentences that say what is unusual and what to do; none for images as the package has them.

    Raises:
        PackageError: a golden image of the package is damaged.
    """
    if not newcomers:
        return {}
    labels, count = package.manifest.labels, len(package.manifest.labels)
    looks = None
    if package.manifest.matching:
        places = sorted(set(np.linspace(0, count - 1, _MAX_GOLDENS).round().astype(int).tolist()))
        looks = Looks.of(package.golden_image(place) for place in places)
    found = {}
    for newcomer in newcomers:
        said = []
        if newcomer.label in labels and records is not None:
            said += _beside_old(package, newcomer, records)
        said = said or [
            text for place in range(len(newcomer.images)) for text in _unusual(package, newcomer, place, looks)
        ]
        found[newcomer.label] = tuple(dict.fromkeys(said))
    return found


def _unusual(package: ModelPackage, newcomer: Newcomer, place: int, looks: Looks | None) -> list[str]:
    path = newcomer.images.paths[place]
    said = _size_misfit(package.manifest, newcomer.images[place].shape[:2])
    if looks is not None:
        said += looks.misfits(look_of(decode_reference(newcomer.references[place], str(path))))
    return [f"{path} was taken otherwise than the golden images of the package: {text}" for text in said]


def _size_misfit(manifest: Manifest, size_hw: tuple[int, ...]) -> list[str]:
    spec, matching = manifest.preprocess, manifest.matching
    (height, width), remedy = size_hw, "take it with the line's camera, and do not crop or resize it"
    if spec.golden_hw is not None and size_hw != spec.golden_hw:
        expected = f"{spec.golden_hw[1]}×{spec.golden_hw[0]} px"
        return [f"it has {width}×{height} px and they have {expected}, so that its scale may differ; {remedy}"]
    if matching is None or spec.region is not None or spec.golden_hw is not None:
        return []
    stretch = width / height * matching.spec.height / matching.spec.width
    if max(stretch, 1 / stretch) > _MAX_STRETCH:
        shape = (
            f"{width / height:.2f} times as wide as high, and they are {matching.spec.width / matching.spec.height:.2f}"
        )
        return [f"it is {shape}; {remedy}"]
    return []


def _beside_old(package: ModelPackage, newcomer: Newcomer, records: np.ndarray) -> list[str]:
    """Lay each new golden image of a part over its old one."""
    old = _OldPart(package, package.manifest.labels.index(newcomer.label), records)
    said = []
    for path, image in zip(newcomer.images.paths, newcomer.images, strict=True):
        if old.recognize_batch([image])[0].accepted:
            continue
        check = find_misfit(old, [image], least=1)
        if check is not None and check.fits is not None:
            said.append(f"{path} fits the part's old golden image {check.fits.describe()}")
    return said


class _OldPart:
    """One part of a package, as a judge of new golden images of it."""

    def __init__(self, package: ModelPackage, place: int, records: np.ndarray) -> None:
        matching = package.manifest.matching
        assert matching is not None  # there are records
        self.manifest, self.decision, self._spec = package.manifest, matching.decision, matching.spec
        self._matcher = Matcher(Bank.of(records), matching.spec)
        self._excluded = np.arange(len(package.manifest.labels)) != place
        self._golden = resized(package.golden_image(place), matching.spec.size_hw)

    def recognize_batch(self, frames: Sequence[Pixels]) -> list[Answer]:
        batch = self._prepared(frames)
        score = np.zeros((len(frames), len(self._excluded)), np.float32)
        matches = self._matcher.match(batch, score, np.repeat(self._excluded[None], len(frames), axis=0))
        return decide_matched(matches, self._spec, self.manifest.labels, self.decision.threshold, 1)

    def appearance(self, frame: Pixels, _: str) -> Appearance:
        return appearance_of(self._prepared([frame])[0], self._golden)

    def golden_image(self, _: str) -> Pixels:
        return self._golden

    def _prepared(self, frames: Sequence[Pixels]) -> Pixels:
        return preprocess(frames, self._spec.preprocess(self.manifest.preprocess))
