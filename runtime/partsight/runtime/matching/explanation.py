"""Explanation: a frame laid over the golden images that it was compared with, and the spot where they differ most.

People see here the numbers that decide: `Matches.places` gives the places in the frame, `agreement.excess` the
differences, and the spots are the windows of the agreement.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from partsight.runtime.core import FloatArray, Pixels
from partsight.runtime.matching.agreement import excess
from partsight.runtime.matching.alignment import gain_of
from partsight.runtime.matching.bank import Bank
from partsight.runtime.matching.layout import Grid, Layout
from partsight.runtime.matching.levels import levels_of
from partsight.runtime.matching.matcher import Matches, match
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.poses import PartPose
from partsight.runtime.matching.preparation import prepare_all
from partsight.runtime.matching.spec import MatchingSpec

_CENTRE_SHARE = 0.1  # of the longest side: a spot that is nearer to the centre lies "at the centre"
_DIRECTIONS = ("right", "lower right", "bottom", "lower left", "left", "upper left", "top", "upper right")

_OPS = ArrayOperations()


@dataclass(frozen=True)
class Spot:
    """The window of a golden image where a picture that is laid over it differs most.

    Attributes:
        x, y: Centre, in pixels of the golden image; the centre of its first pixel is (0, 0).
        side: Side of the window, in pixels of the golden image.
        tolerances: Root of the mean square difference in the window, in multiples of the tolerance.
        where: Its direction from the centre of the golden image, in words, such as "upper right".
    """

    x: float
    y: float
    side: float
    tolerances: float
    where: str


@dataclass(frozen=True)
class Overlay:
    """A picture that is laid over a golden image.

    Images have the height and width of golden images at the size of the comparison, in pixels.

    Attributes:
        class_index: Class of the golden image.
        reference: Which of the part's references it is, from 0, the golden image.
        agreement: Agreement in [0, 1].
        pose: Pose of the golden image in the picture.
        golden: The golden image, (height, width, 3) uint8 BGR.
        laid: The picture in the coordinates and the light of the golden image, (height, width, 3) uint8 BGR.
        difference: Difference of both in multiples of the tolerance, (height, width) float32; 0 at the border, which
            is not compared.
        spot: Where they differ most.
    """

    class_index: int
    reference: int
    agreement: float
    pose: PartPose
    golden: Pixels
    laid: Pixels
    difference: FloatArray
    spot: Spot


def lay_over(
    frame: Pixels, matches: Matches, goldens: Sequence[Pixels], bank: Bank, spec: MatchingSpec
) -> tuple[Overlay, ...]:
    """Lay a frame over the golden images of its first finalists.

    Args:
        frame: Frame of the references' size, (height, width, 3) uint8 BGR.
        matches: Its comparison with golden images: one row, by `Matcher.match`.
        goldens: Images of the references of the first finalists, each (height, width, 3) uint8 BGR of the
            references' size. One overlay is made for each.
        bank: Bank of references.
        spec: Tolerances.
    """
    layout, rows = Layout.of(spec.size_hw), matches.references
    squares = _squares(frame, matches, bank, spec)
    spots = _spots(squares, layout)
    places = matches.places(Grid.whole(spec.size_hw, 1), _OPS)
    laid = _OPS.sample(_OPS.images(frame[None].astype(np.float32)), places)[:, 0]
    overlays = []
    for finalist, golden in enumerate(goldens):
        row, class_index = int(rows[0, finalist]), int(matches.classes[0, finalist])
        overlays.append(
            Overlay(
                class_index=class_index,
                reference=row - int(bank.references_of[class_index, 0]),
                agreement=float(matches.agreement[0, finalist]),
                pose=matches.poses.of_part(0, finalist),
                golden=golden,
                laid=_lit_as(laid[:, finalist].reshape(3, *spec.size_hw), golden),
                difference=_on_pixels(np.sqrt(squares[finalist]), layout.judged),
                spot=spots[finalist],
            )
        )
    return tuple(overlays)


def worst_spots(frame: Pixels, matches: Matches, bank: Bank, spec: MatchingSpec) -> tuple[Spot, ...]:
    """Return where a frame differs most from the golden image of each finalist, best first; see `lay_over`."""
    return _spots(_squares(frame, matches, bank, spec), Layout.of(spec.size_hw))


def compare_golden_images(golden: Pixels, other: Pixels, spec: MatchingSpec) -> Overlay:
    """Lay the golden image of another part over a golden image; the spot tells the two parts apart.

    The other image takes the way of a frame, so the agreement is that of a frame in the pose and light of `other`.

    Args:
        golden: Golden image, (height, width, 3) uint8 BGR of the references' size.
        other: Golden image of the other part, of the same shape.
        spec: Tolerances.
    """
    bank = Bank.of(prepare_all([golden]))
    matches = match(other[None], np.zeros((1, 1), np.float32), bank, spec, _OPS)
    return lay_over(other, matches, [golden], bank, spec)[0]


def _squares(frame: Pixels, matches: Matches, bank: Bank, spec: MatchingSpec) -> FloatArray:
    """Return mean squares of the channels' differences in squared tolerances, (finalists, rows, columns)."""
    grid = Layout.of(spec.size_hw).judged
    colour = levels_of(frame[None], _OPS).colour
    summed = excess(colour, matches.references, matches.places(grid, _OPS), bank, spec, _OPS)
    return np.asarray(summed[0].reshape(-1, *grid.shape) / 3, np.float32)


def _spots(squares: FloatArray, layout: Layout) -> tuple[Spot, ...]:
    windows = _OPS.window_means(squares[None], layout.spot)[0]
    return tuple(_worst_spot(of_finalist, layout) for of_finalist in windows)


def _worst_spot(windows: FloatArray, layout: Layout) -> Spot:
    """Return the largest of the windows of `ArrayOperations.window_means`, (windows,) mean squares."""
    grid, points = layout.judged, 2 * layout.spot  # a window is so many points wide
    index = int(windows.argmax())
    row, column = divmod(index, grid.shape[1] // 2 - layout.spot + 1)
    step = float(grid.rows[1] - grid.rows[0])
    y, x = (
        float(places[2 * first] + step * (points - 1) / 2)
        for places, first in ((grid.rows, row), (grid.columns, column))
    )
    return Spot(x, y, points * step, math.sqrt(windows[index]), _direction(x, y, grid.size_hw))


def _direction(x: float, y: float, size_hw: tuple[int, int]) -> str:
    right, down = x - (size_hw[1] - 1) / 2, y - (size_hw[0] - 1) / 2
    if math.hypot(right, down) < _CENTRE_SHARE * max(size_hw):
        return "centre"
    return _DIRECTIONS[round(math.degrees(math.atan2(down, right)) / 45) % 8]


def _on_pixels(values: FloatArray, grid: Grid) -> FloatArray:
    """Return values at the points of a grid, (rows, columns), at the pixels of its level, (height, width), else 0."""
    height, width = grid.size_hw
    columns, rows = (
        ((np.arange(size) - places[0]) / (places[1] - places[0])).astype(np.float32)
        for size, places in ((width, grid.columns), (height, grid.rows))
    )
    x, y = np.meshgrid(columns, rows)
    return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), np.float32)


def _lit_as(laid: FloatArray, golden: Pixels) -> Pixels:
    """Return a picture, (3, height, width), in the light of a golden image: one gain a channel, as the agreement."""
    first, second = (planes.reshape(3, -1).astype(np.float32) for planes in (laid, np.moveaxis(golden, -1, 0)))
    gain = gain_of(_OPS.dot(first, second), _OPS.dot(second, second), _OPS)
    lit = np.moveaxis(laid / gain[:, None, None], 0, -1)
    return np.asarray(np.rint(np.clip(lit, 0, 255)), np.uint8)
