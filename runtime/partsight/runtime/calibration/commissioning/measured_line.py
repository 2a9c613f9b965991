"""The measured line: how the frames of a line differ from the golden images, in pose, light, sharpness and noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from partsight.runtime.calibration.commissioning.line_answers import LineAnswers, SeenFrames
from partsight.runtime.calibration.variation import Variation
from partsight.runtime.core import Pixels
from partsight.runtime.matching import Matches, appearance_of

MAX_MEASURED = 300
"""Number of frames whose light, sharpness, noise and scale are measured: more hardly change the percentiles."""

_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
_MAD_TO_SIGMA = 1.4826
_SCALE_STEPS, _SCALE_ERROR = 30, 0.03  # the error of one frame, by parallax
_SHARPNESS = (0.85, 1.05)  # of golden images that `vary` varied: 98 % of them lie between 0.88 and 0.98
_MIN_LEVEL = 1.0  # of 255 grey levels
_COLOURS = ("blue", "green", "red")


@dataclass(frozen=True)
class Spread:
    """The values of one property over the frames of a line.

    Attributes:
        name: Name of the property, such as "turn".
        unit: Unit of the values.
        low, middle, high: First, 50th and 99th percentile. The middle of a pose is the offset that all parts share.
        expected_low, expected_high: Range for which the package was calibrated by varied golden images; None if the
            calibration does not vary the property.
    """

    name: str
    unit: str
    low: float
    middle: float
    high: float
    expected_low: float | None = None
    expected_high: float | None = None

    @property
    def is_expected(self) -> bool:
        """Whether the values lie in the expected range, or hardly beyond it."""
        if self.expected_low is None or self.expected_high is None:
            return True
        slack = (self.expected_high - self.expected_low) / 10
        return self.low >= self.expected_low - slack and self.high <= self.expected_high + slack

    def describe(self) -> str:
        """Return the values as text, such as "−1.20 to 3.4 °, middle 1.00"."""
        low, middle, high = (f"{value:.{2 if abs(value) < 2 else 1}f}" for value in (self.low, self.middle, self.high))
        return f"{low} to {high}{' ' * bool(self.unit)}{self.unit}, middle {middle}".replace("-", "−")


@dataclass(frozen=True)
class MeasuredLine:
    """How frames differ from the golden images of their parts.

    Attributes:
        frames: Number of frames whose pose was measured.
        poses: Spread of shift right and down, turn, shear and stretch.
        light: Spread of the brightness of each channel.
        focus: Spread of the sharpness in multiples of the golden image's; None if the golden images have no detail.
        noise: Spread of the noise; None if no golden image was given.
        scale: Spread of the size at which frames show a part.
        agreement: Spread of the agreement with the part.
    """

    frames: int
    poses: tuple[Spread, ...]
    light: tuple[Spread, ...]
    focus: Spread | None
    noise: Spread | None
    scale: Spread | None
    agreement: Spread | None = None

    @property
    def spreads(self) -> tuple[Spread, ...]:
        """All spreads, in the order of a report."""
        single = (self.scale, self.focus, self.noise, self.agreement)
        return (*self.poses, *self.light, *(spread for spread in single if spread is not None))


def measure_line(seen: SeenFrames, answers: LineAnswers, goldens: Sequence[Pixels | None]) -> MeasuredLine | None:
    """Measure how frames differ from the golden image of their part.

    Args:
        seen: Frames that show taught parts.
        answers: Answers to them.
        goldens: Golden image of each frame's part at the size of the comparison, (height, width, 3) uint8 BGR; None to
            leave its light, sharpness, noise and scale out.

    Returns:
        None if no frame is right first.
    """
    right = answers.is_right_first
    if not right.any():
        return None
    size_hw = seen.pixels.shape[1:3]
    looks = [
        _look_at(seen.pixels[row], golden, _pose_of(answers.taught, row, size_hw))
        for row, golden in enumerate(goldens)
        if golden is not None and right[row]
    ]
    return MeasuredLine(
        frames=int(right.sum()),
        poses=_poses(answers.taught, right),
        light=_light(looks),
        focus=_spread("sharpness", "×", [look.focus for look in looks if look.focus is not None], _SHARPNESS),
        noise=_spread("noise", "levels", [look.noise for look in looks], (0.0, Variation().noise_levels)),
        scale=_spread("scale", "×", [look.scale for look in looks if look.scale is not None], _around(1, _SCALE_ERROR)),
        agreement=_spread("agreement", "", answers.own_agreement()[right]),
    )


@dataclass(frozen=True)
class _Look:
    """Light, sharpness, noise and scale of one frame, compared with its golden image."""

    light_ev: tuple[float, ...]
    focus: float | None
    noise: float
    scale: float | None


def _look_at(frame: Pixels, golden: Pixels, pose: npt.NDArray[np.float32]) -> _Look:
    levels = [np.maximum(image.reshape(-1, 3).mean(axis=0), _MIN_LEVEL) for image in (frame, golden)]
    light = np.log2(levels[0] / levels[1])
    return _Look(
        tuple(light.tolist()), appearance_of(frame, golden).focus_ratio, noise_of(frame), _scale_of(frame, golden, pose)
    )


def noise_of(image: Pixels) -> float:
    """Return the standard deviation of the noise of an image, (height, width, 3) uint8, in grey levels.

    Source: J. Immerkær, "Fast noise variance estimation", CVIU 64 (1996); the median makes it robust against edges.
    """
    rest = cv2.filter2D(image.astype(np.float32), cv2.CV_32F, _NOISE_KERNEL)
    return float(np.median(np.abs(rest)) * _MAD_TO_SIGMA)


def _scale_of(frame: Pixels, golden: Pixels, pose: npt.NDArray[np.float32]) -> float | None:
    """Return the size at which a frame shows its part; None if the alignment does not converge.

    Source: G. Evangelidis and E. Psarakis, "Parametric image alignment using enhanced correlation coefficient
    maximization", PAMI 30 (2008).
    """
    grey = [np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.float32) for image in (golden, frame)]
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _SCALE_STEPS, 1e-4)
    try:
        _, found = cv2.findTransformECC(grey[0], grey[1], pose.copy(), cv2.MOTION_AFFINE, criteria)
    except cv2.error:
        return None
    return float(np.hypot(found[0, 0], found[1, 0]))


def _pose_of(matches: Matches, index: int, size_hw: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the pose of the best golden image of a frame as (2, 3) matrix, from its pixels to those of the frame."""
    x, y, angle, shear, stretch = (float(values[index, 0]) for values in matches.poses.values)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1, shear], [0, 1 + stretch]])
    centre = (np.array(size_hw[1::-1]) - 1) / 2
    shift = np.array([x, y]) * max(size_hw)
    return np.column_stack([linear, centre + shift - linear @ centre]).astype(np.float32)


def _poses(matches: Matches, chosen: npt.NDArray[np.bool_]) -> tuple[Spread, ...]:
    x, y, angle, shear, stretch = (values[chosen, 0] for values in matches.poses.values)
    varied = Variation()
    tilt = 100 * np.tan(np.deg2rad(varied.view_deg)) * np.tan(np.deg2rad(varied.tilt_deg))
    rows = (
        ("shift right", "%", 100 * x, varied.shift_percent),
        ("shift down", "%", 100 * y, varied.shift_percent),
        ("turn clockwise", "°", np.rad2deg(angle), varied.rotation_deg),
        ("shear", "%", 100 * shear, tilt),
        ("stretch", "%", 100 * stretch, tilt),
    )
    spreads = (_spread(name, unit, values, _around(0, limit)) for name, unit, values, limit in rows)
    return tuple(spread for spread in spreads if spread is not None)


def _light(looks: Sequence[_Look]) -> tuple[Spread, ...]:
    varied = Variation()
    by_exposure = np.log2(1 + varied.exposure_percent / 100)
    balance = np.log2(1 + varied.white_balance_percent / 100)
    spreads = []
    for channel, colour in enumerate(_COLOURS):
        limit = float(by_exposure + (balance if colour != "green" else 0))
        found = _spread(f"light, {colour}", "EV", [look.light_ev[channel] for look in looks], _around(0, limit))
        spreads += [found] if found else []
    return tuple(spreads)


def _around(middle: float, distance: float) -> tuple[float, float]:
    return middle - distance, middle + distance


def _spread(
    name: str,
    unit: str,
    values: Sequence[float] | npt.NDArray[np.float32],
    expected: tuple[float, float] | tuple[None, None] = (None, None),
) -> Spread | None:
    if not len(values):
        return None
    low, middle, high = (float(value) for value in np.percentile(np.asarray(values), (1, 50, 99)))
    return Spread(name, unit, low, middle, high, *expected)
