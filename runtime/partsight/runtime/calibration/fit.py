"""Does it fit? How far frames may differ from the golden images, measured on varied golden images.

For each frame, the module changes a golden image in one respect by a known amount: turn, shift, scale, light, blur or
colour order. It adds a light variation, as on a line in good order. The recogniser answers all of these frames.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from partsight.runtime.calibration.variation import Variation, vary
from partsight.runtime.core import Pixels, progress
from partsight.runtime.recognition import Answer

MIN_KEPT = 0.95
"""Share of right answers that must stay right with a difference, so that its amount counts as tolerated."""

_BATCH = 32
_LIGHTLY = Variation(rotation_deg=1.0, shift_percent=1.0, scale_percent=0.2, tilt_deg=0.3, parallax_percent=0.3)
_BLUR_WIDTH_PX = 256  # image width that the amounts of blur refer to


class Recognizing(Protocol):
    """An object that answers frames, such as a `Recognizer`."""

    def recognize_batch(self, frames: Sequence[Pixels]) -> Sequence[Answer]:
        """Answer frames."""


@dataclass(frozen=True)
class TolerancePoint:
    """Answers to frames that differ by one amount.

    Attributes:
        amount: Amount of the difference, in the unit of the series.
        right, unknown, wrong: Shares of the frames that get their own part, no part and another part.
        kept: Share of the right answers without the difference that stay right with it; 0 if none is right.
    """

    amount: float
    right: float
    unknown: float
    wrong: float
    kept: float


@dataclass(frozen=True)
class ToleranceSeries:
    """Answers to frames that differ in one respect.

    Attributes:
        name: Name of the respect, such as "turn".
        unit: Unit of the amounts; empty for colour order, whose amount is 1 for swapped channels.
        points: Answers by rising amount; amount 0 is the light variation alone.
    """

    name: str
    unit: str
    points: tuple[TolerancePoint, ...]

    @property
    def tolerated(self) -> tuple[float, float]:
        """The lowest and the highest tolerated amount: all measured amounts from 0 to it keep `MIN_KEPT`."""
        amounts = [point.amount for point in self.points]
        zero = amounts.index(0)
        fits = [point.kept >= MIN_KEPT or index == zero for index, point in enumerate(self.points)]
        lowest = highest = zero
        while lowest > 0 and fits[lowest - 1]:
            lowest -= 1
        while highest < len(fits) - 1 and fits[highest + 1]:
            highest += 1
        return amounts[lowest], amounts[highest]

    def describe(self) -> str:
        """Return the tolerated range as text, such as "up to 12°"."""
        low, high = self.tolerated
        if not self.unit:
            return "yes" if high else "no"
        if self.points[0].amount < 0:
            return f"{amount_text(low, self.unit)} to {amount_text(high, self.unit)}"
        return f"up to {amount_text(high, self.unit)}"


@dataclass(frozen=True)
class Tolerances:
    """How far frames may differ from the golden images.

    Attributes:
        parts: Number of parts in the sample.
        right_unvaried: Share of frames that get their own part with the light variation alone.
        series: Answers for each kind of difference.
    """

    parts: int
    right_unvaried: float
    series: tuple[ToleranceSeries, ...]


def measure_fit(
    recognizer: Recognizing, goldens: Sequence[Pixels], labels: Sequence[str], *, sample: int = 300, seed: int = 0
) -> Tolerances:
    """Measure how far frames may differ from the golden images.

    Turns, shifts and smaller scales uncover area at the border, which the function fills with the border's pixels. Each
    part gets the same light variation at every amount, so that nothing else differs.

    Args:
        recognizer: Recogniser that was taught the parts.
        goldens: Golden images as the camera delivers frames, each (height, width, 3) uint8 BGR or (height, width)
            uint8. A sequence may read them from files; it reads each at most three times.
        labels: Parts of the golden images, in the same order.
        sample: Largest number of parts; the seed draws them.
        seed: Seed of the sample and of the variation.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(labels))[:sample])
    differences = _DIFFERENCES if goldens[int(chosen[0])].ndim == 3 else _DIFFERENCES[:-1]
    trials = [_Trial(_DIFFERENCES[0], 0), *(_Trial(item, amount) for item in differences for amount in item.amounts)]
    is_right, is_unknown = (np.zeros((len(trials), len(chosen)), bool) for _ in range(2))
    cells = [(row, column) for column in range(len(chosen)) for row in range(len(trials))]
    starts = range(0, len(cells), _BATCH)
    for start in progress(starts, len(starts), "does it fit?", f"×{_BATCH}"):
        batch = cells[start : start + _BATCH]
        images = {column: goldens[int(chosen[column])] for column in sorted({column for _, column in batch})}
        frames = [trials[row].frame(images[column], [seed, int(chosen[column])]) for row, column in batch]
        for cell, answer in zip(batch, recognizer.recognize_batch(frames), strict=True):
            is_right[cell] = answer.label == labels[chosen[cell[1]]]
            is_unknown[cell] = answer.label is None
    points = [
        _point(trial.amount, is_right[0], *rows) for trial, *rows in zip(trials, is_right, is_unknown, strict=True)
    ]
    return Tolerances(len(chosen), points[0].right, tuple(_series(item, trials, points) for item in differences))


def fit_table(tolerances: Tolerances) -> str:
    """Return the shares as a Markdown table: a row for each kind of difference."""
    rows = [
        f"| {series.name} | {series.describe()} | {', '.join(_cell(point, series.unit) for point in series.points)} |"
        for series in tolerances.series
    ]
    head = "| difference | tolerated | right / unknown / wrong in %, by amount |\n|---|---|---|"
    return "\n".join([head, *rows])


def amount_text(amount: float, unit: str) -> str:
    """Return an amount with its unit, such as "−0.5 EV"."""
    sign = "−" if amount < 0 else "+" if unit == "EV" and amount else ""
    return f"{sign}{abs(amount):g}{'' if unit == '°' else ' ' if unit else ''}{unit}"


def _cell(point: TolerancePoint, unit: str) -> str:
    amount = amount_text(point.amount, unit) if unit else "swapped" if point.amount else "as taught"
    return f"{amount}: {100 * point.right:.0f} / {100 * point.unknown:.0f} / {100 * point.wrong:.0f}"


def _point(amount: float, right_unvaried: np.ndarray, is_right: np.ndarray, is_unknown: np.ndarray) -> TolerancePoint:
    return TolerancePoint(
        amount=amount,
        right=float(is_right.mean()),
        unknown=float(is_unknown.mean()),
        wrong=float((~is_right & ~is_unknown).mean()),
        kept=float(is_right[right_unvaried].mean()) if right_unvaried.any() else 0.0,
    )


def _series(difference: "_Difference", trials: Sequence["_Trial"], points: Sequence[TolerancePoint]) -> ToleranceSeries:
    """Return the points of one difference with the point of amount 0, which is the first of all points."""
    own = [
        point for trial, point in zip(trials, points, strict=True) if trial.difference is difference and trial.amount
    ]
    ordered = sorted([points[0], *own], key=lambda point: point.amount)
    return ToleranceSeries(difference.name, difference.unit, tuple(ordered))


def _turn(image: Pixels, degrees: float, angle: float) -> Pixels:
    """Turn about the centre, to the side that the drawn angle points to."""
    return _warp(image, degrees if angle < np.pi else -degrees, 1.0, (0.0, 0.0))


def _shift(image: Pixels, percent: float, angle: float) -> Pixels:
    """Shift by a share of the sides, in the drawn direction."""
    height, width = image.shape[:2]
    reach = percent / 100
    return _warp(image, 0.0, 1.0, (reach * width * np.cos(angle), reach * height * np.sin(angle)))


def _scale(image: Pixels, percent: float, _angle: float) -> Pixels:
    return _warp(image, 0.0, 1 + percent / 100, (0.0, 0.0))


def _warp(image: Pixels, degrees: float, scale: float, shift: tuple[float, float]) -> Pixels:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale)
    matrix[:, 2] += np.array(shift)
    moved = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def _light(image: Pixels, ev: float, _angle: float) -> Pixels:
    """Multiply the grey levels by 2 to the power of `ev`, and clip them at white."""
    levels = np.clip(np.rint(np.arange(256) * 2.0**ev), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, levels), np.uint8)


def _blur(image: Pixels, sigma_px: float, _angle: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px * image.shape[1] / _BLUR_WIDTH_PX), np.uint8)


def _swap_channels(image: Pixels, _amount: float, _angle: float) -> Pixels:
    return np.ascontiguousarray(image[..., ::-1])


@dataclass(frozen=True)
class _Difference:
    """One respect in which frames differ.

    Attributes:
        name, unit: Name and unit, as in `ToleranceSeries`.
        amounts: Amounts to measure, without 0.
        apply: Function of an image, an amount and a random direction in radians; returns the changed image.
    """

    name: str
    unit: str
    amounts: tuple[float, ...]
    apply: Callable[[Pixels, float, float], Pixels]


@dataclass(frozen=True)
class _Trial:
    """A difference and its amount."""

    difference: _Difference
    amount: float

    def frame(self, golden: Pixels, seed: Sequence[int]) -> Pixels:
        """Return the golden image with the difference and the light variation; one seed always gives the same one."""
        rng = np.random.default_rng(seed)
        angle = float(rng.uniform(0, 2 * np.pi))
        if self.amount:
            golden = self.difference.apply(golden, self.amount, angle)
        return vary(golden, _LIGHTLY, rng)


_DIFFERENCES = (
    _Difference("turn", "°", (2, 5, 8, 10, 12, 15, 20, 30, 45, 90, 180), _turn),
    _Difference("shift", "%", (2, 4, 6, 8, 10, 12, 15, 20), _shift),
    _Difference("scale", "%", (-10, -5, -3, -2, -1, 1, 2, 3, 5, 10), _scale),
    _Difference("light", "EV", (-2, -1.5, -1, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1), _light),
    _Difference("blur", "px", (0.5, 1, 1.5, 2, 3, 4), _blur),
    _Difference("colour order", "", (1,), _swap_channels),  # the last: grey images have none
)
