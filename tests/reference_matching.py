"""The comparison with golden images, one candidate after the other.

This is the algorithm of commit 628cccd, the independent reference for the batched one. Do not change it: where the two
differ, explain the batched one.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass

import cv2
import numpy as np

from partsight.runtime.core.arrays import Pixels

_LEVELS_PX = (128, 64, 32)  # longest side, fine to coarse
_MAX_STEP, _MIN_STEP, _FARTHEST = 0.05, 2e-4, 0.15  # of the longest side, and in radians
_STIFFNESS = 180.0  # grey levels² a pixel that a stretch or shear of 1 must explain away
_BORDER_SHARE, _SPOT_SHARE = 1 / 32, 1 / 21  # of the longest side
_WORST_SHARE = 0.01  # of the pixels
_FEW = 3  # candidates where both judges name the same
_LEAST = 2  # compared in any case
_HOPELESS, _NOISE_LEVELS = 8.0, 0.7
_MAX_GAIN = 1.4
_ROWS_PRODUCT = 2**18  # multiplications in one product with the outlines: with others, its last bits are others


@dataclass(frozen=True)
class Matched:
    """The finalists, best first; the lead of the best over the second; whether the best is good enough, and alone."""

    classes: tuple[int, ...]
    agreement: tuple[float, ...]
    margin: float
    accepted: bool


@dataclass(frozen=True)
class _Pose:
    x: float = 0.0
    y: float = 0.0
    angle: float = 0.0
    shear: float = 0.0
    stretch: float = 0.0

    def linear(self) -> tuple[float, float, float, float]:
        cosine, sine, height = math.cos(self.angle), math.sin(self.angle), 1 + self.stretch
        return cosine, cosine * self.shear - sine * height, sine, sine * self.shear + cosine * height

    def after_inverse_of(self, step: "_Pose") -> "_Pose":
        a, b, c, d = self.linear()
        e, f, g, h = step.linear()
        size = e * h - f * g
        a, b, c, d = (a * h - b * g) / size, (b * e - a * f) / size, (c * h - d * g) / size, (d * e - c * f) / size
        angle = math.atan2(c, a)
        cosine, sine = math.cos(angle), math.sin(angle)
        x, y = self.x - a * step.x - b * step.y, self.y - c * step.x - d * step.y
        return _Pose(x, y, angle, cosine * b + sine * d, cosine * d - sine * b - 1)

    def warp(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        longest, middle_x, middle_y = max(height, width), (width - 1) / 2, (height - 1) / 2
        a, b, c, d = self.linear()
        x = self.x * longest + middle_x - a * middle_x - b * middle_y
        y = self.y * longest + middle_y - c * middle_x - d * middle_y
        matrix = np.array([[a, b, x], [c, d, y]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(image, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


class _Update:
    """Inverse compositional alignment with one level of a golden image."""

    def __init__(self, golden: np.ndarray, *, with_tilt: bool) -> None:
        right, down = _centred(golden)
        by_x, by_y = _gradient(golden, max(golden.shape) / 8)
        tilt = (down * by_x, down * by_y) if with_tilt else ()
        self.golden = golden
        self.slopes = np.stack([by_x, by_y, right * by_y - down * by_x, *tilt, golden]).reshape(4 + len(tilt), -1)
        square = np.empty((len(self.slopes), len(self.slopes)))
        for row, slope in enumerate(self.slopes):
            square[row, row:] = square[row:, row] = self.slopes[row:] @ slope
        stiffness = _STIFFNESS * golden.size
        diagonal = square.ravel()[:: len(square) + 1]
        diagonal *= 1 + 1e-4
        diagonal += 1e-3
        diagonal[3:-1] += stiffness
        inverse = np.linalg.inv(square)
        self.inverse = inverse.astype(np.float32)
        self.prior = (stiffness * inverse[:, 3:-1]).astype(np.float32)

    def align(self, image: np.ndarray, pose: _Pose, most: int) -> _Pose:
        for _ in range(most):
            values = self.inverse @ (self.slopes @ (pose.warp(image) - self.golden).ravel())
            if self.prior.size:
                values += self.prior @ np.array([pose.shear, pose.stretch], np.float32)
            *moves, gain = values.tolist()
            gain = max(1 + gain, 0.5)
            step = _Pose(*[max(-_MAX_STEP, min(_MAX_STEP, move / gain)) for move in moves])
            pose = pose.after_inverse_of(step)
            if max(abs(step.x), abs(step.y), abs(step.angle), math.hypot(step.shear, step.stretch)) < _MIN_STEP:
                break
        return pose


class _Reference:
    """A golden image made ready to be compared in full."""

    def __init__(self, image: Pixels) -> None:
        smoothed = _smooth(image)
        slope_x, slope_y = _gradient(smoothed, 1 / 8)
        slope = _channels_together(cv2.accumulateSquare(slope_y, cv2.multiply(slope_x, slope_x)))
        self.fine = _Update(_levels(image)[2], with_tilt=True)
        self.image, self.slope = (np.ascontiguousarray(_inner(array)) for array in (smoothed, slope))
        self.squares = _channel_sums(self.image, self.image)


@dataclass
class ReferenceMatcher:
    """Compares a frame with the golden images of the best candidates, by the network and by their outlines.

    Attributes:
        images: (height, width, 3) uint8 BGR of each class, at the size of the comparison.
        shortlist, outlined: how many candidates are looked at, and how many of those are the best by their outlines.
        screened, finalists: how many of those are aligned one by one, and how many of these are compared in full.
        tolerance_levels, tolerance_px, tolerance_tilt: what noise and light, pose and blur, and a tilt explain.
        least_margin: by which the best agreement must lead the second.
    """

    images: Sequence[Pixels]
    _: KW_ONLY
    shortlist: int = 32
    outlined: int = 20
    screened: int = 12
    finalists: int = 5
    tolerance_levels: float = 6.0
    tolerance_px: float = 0.3
    tolerance_tilt: float = 0.018
    least_margin: float = 0.03

    def __post_init__(self) -> None:
        levels = [[level.astype(np.float16) for level in _levels(image)[:2]] for image in self.images]
        self._coarse, self._middle = (np.stack(level) for level in zip(*levels, strict=True))
        self._rows = _inner_rows(self._coarse).astype(np.float32)
        self._squares = np.einsum("np,np->n", self._rows, self._rows)
        self._references: dict[int, _Reference] = {}

    def match(self, frame: Pixels, score: np.ndarray, threshold: float = math.inf) -> Matched:
        """Compare a frame.

        Args:
            frame: (height, width, 3) uint8 BGR, of the size of the images.
            score: (classes,) float32, the network's.
            threshold: agreement from which on a frame is accepted.
        """
        levels, smoothed = _levels(frame), _smooth(frame)
        by_network = _best_first(score, self.shortlist)
        by_outline = self._by_outline(levels[0])
        first = [index for pair in zip(by_outline[:2], by_network[:2], strict=False) for index in pair]
        order = list(dict.fromkeys([*first, *by_outline, *by_network]))[: self.shortlist]
        is_clear = by_outline[0] == by_network[0]
        if is_clear and len(order) > 2:
            matched = next(self._passes(levels, smoothed, order[:_FEW], 1, threshold))
            if matched.accepted:
                return matched
        for matched in self._passes(levels, smoothed, order, 1 if is_clear else 2, threshold):
            if matched.accepted:
                break
        return matched

    def _by_outline(self, level: np.ndarray) -> list[int]:
        basis = _span(level)
        count = max(1, _ROWS_PRODUCT // basis.size)
        blocks = [self._rows[start : start + count] @ basis for start in range(0, len(self._rows), count)]
        explained = np.concatenate(blocks)
        return _best_first(np.einsum("nk,nk->n", explained, explained) - self._squares, self.outlined)

    def _passes(
        self, levels: Sequence[np.ndarray], smoothed: np.ndarray, order: Sequence[int], starts: int, threshold: float
    ) -> Iterator[Matched]:
        """Lay the frame over candidates more and more exactly, each time over fewer: first the hopeful, then all."""
        coarse, middle = (kept[order].astype(np.float32) for kept in (self._coarse, self._middle))
        poses = [_start(levels, *pair) for pair in zip(coarse[:starts], middle[:starts], strict=True)]
        waiting = self._screened(levels[1], middle, poses)
        aligned: list[tuple[float, int, _Pose]] = []
        compared: dict[int, float] = {}
        for hopeless in (_HOPELESS, math.inf):
            while waiting and (len(aligned) < _LEAST or waiting[0][0] <= _limit(aligned, hopeless)):
                _, place, pose = waiting.pop(0)
                pose = _Update(middle[place], with_tilt=False).align(levels[1], pose, most=4)
                aligned.append((_difference(levels[1], middle[place], pose), order[place], pose))
            aligned.sort(key=lambda item: item[0])
            limit = _limit(aligned, hopeless)
            count = max(_LEAST, sum(difference <= limit for difference, *_ in aligned))
            finalists = aligned[: min(count, self.finalists)]
            for _, index, pose in finalists:
                if index not in compared:
                    if index not in self._references:
                        self._references[index] = _Reference(self.images[index])
                    compared[index] = self._agreement(levels[2], smoothed, self._references[index], pose)
            ranked = sorted(((compared[index], index) for _, index, _ in finalists), key=lambda item: -item[0])
            agreement, classes = zip(*ranked, strict=True)
            margin = agreement[0] - (agreement[1] if len(agreement) > 1 else 0.0)
            yield Matched(classes, agreement, margin, agreement[0] >= threshold and margin >= self.least_margin)

    def _screened(
        self, level: np.ndarray, goldens: np.ndarray, poses: Sequence[_Pose]
    ) -> list[tuple[float, int, _Pose]]:
        """Return how much each leaves unexplained, its place on the shortlist and where to begin, best first."""
        if len(goldens) <= self.screened and len(poses) == 1:
            return [(0.0, place, poses[0]) for place in range(len(goldens))]
        left = np.stack([_unexplained(pose.warp(level), goldens) for pose in poses])
        least = left.min(axis=0)
        places = np.argsort(least, kind="stable")[: self.screened].tolist()
        return [(float(least[place]), place, poses[int(left[:, place].argmin())]) for place in places]

    def _agreement(self, finest: np.ndarray, smoothed: np.ndarray, reference: _Reference, pose: _Pose) -> float:
        pose = reference.fine.align(finest, pose, most=8)
        moved = _inner(pose.warp(smoothed))
        products = zip(_channel_sums(moved, reference.image), reference.squares, strict=True)
        gains = [1 / _within(product / max(square, 1.0)) for product, square in products]
        rest = cv2.blur(cv2.subtract(cv2.transform(moved, np.diag(gains)), reference.image), (3, 3))
        slope = reference.slope
        tolerance = cv2.addWeighted(slope, self.tolerance_px**2, slope, 0, self.tolerance_levels**2)
        excess = cv2.divide(_channels_together(cv2.multiply(rest, rest)), tolerance, scale=1 / 3)
        spot = max(3, round(max(smoothed.shape) * _SPOT_SHARE))
        spots = cv2.blur(excess, (spot, spot)).ravel()
        worst = float(spots[_best_first(spots, max(1, round(len(spots) * _WORST_SHARE)))].mean())
        tilt = 1 + (math.hypot(pose.shear, pose.stretch) / self.tolerance_tilt) ** 2
        return 1 / (1 + math.sqrt(worst * tilt))


def _best_first(scores: np.ndarray, count: int) -> list[int]:
    return np.argsort(-scores, kind="stable")[:count].tolist()


def _smooth(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.0)


def _levels(image: Pixels) -> list[np.ndarray]:
    """Return an image as grey, smoothed float32 at each level, coarse to fine."""
    grey, levels = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), []
    for longest in _LEVELS_PX:
        scale = longest / max(image.shape[:2])
        width, height = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
        levels.insert(0, _smooth(grey))
    return levels


def _gradient(image: np.ndarray, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    return cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=scale), cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=scale)


def _centred(level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels' places from the centre in shares of the longest side: (1, width), (height, 1)."""
    down, right = ((np.arange(side, dtype=np.float32) - (side - 1) / 2) / max(level.shape) for side in level.shape)
    return right[None], down[:, None]


def _start(levels: Sequence[np.ndarray], *goldens: np.ndarray) -> _Pose:
    """Find a pose from nothing, on the levels before the finest; the nominal one where that leads nowhere."""
    pose = _Pose()
    for level, golden in zip(levels[:2], goldens, strict=True):
        pose = _Update(golden, with_tilt=False).align(level, pose, most=8)
    return pose if max(abs(pose.x), abs(pose.y), abs(pose.angle)) < _FARTHEST else _Pose()


def _inner_rows(images: np.ndarray) -> np.ndarray:
    border = round(max(images.shape[1:]) * _BORDER_SHARE)
    return images[:, border:-border, border:-border].reshape(len(images), -1)


def _inner(image: np.ndarray) -> np.ndarray:
    border = max(2, round(max(image.shape[:2]) * _BORDER_SHARE))
    return image[border:-border, border:-border]


def _span(level: np.ndarray) -> np.ndarray:
    """Return (pixels, 4) float32: an orthonormal basis of all that a frame may look like nearby."""
    right, down = _centred(level)
    by_x, by_y = _gradient(level)
    return np.linalg.qr(_inner_rows(np.stack([level, by_x, by_y, right * by_y - down * by_x])).T)[0]


def _unexplained(level: np.ndarray, goldens: np.ndarray) -> np.ndarray:
    rows = _inner_rows(goldens)
    explained = rows @ _span(level)
    left = np.einsum("np,np->n", rows, rows) - np.einsum("nk,nk->n", explained, explained)
    return left / rows.shape[1]


def _limit(aligned: Sequence[tuple[float, int, _Pose]], hopeless: float) -> float:
    return hopeless * max(min(difference for difference, *_ in aligned), _NOISE_LEVELS**2)


def _within(gain: float) -> float:
    return min(max(gain, 1 / _MAX_GAIN), _MAX_GAIN)


def _difference(level: np.ndarray, golden: np.ndarray, pose: _Pose) -> float:
    moved, golden = (_inner(image).ravel() for image in (pose.warp(level), golden))
    rest = moved / _within(float(np.vdot(golden, moved)) / max(float(np.vdot(golden, golden)), 1.0)) - golden
    return float(np.vdot(rest, rest)) / rest.size


def _channels_together(image: np.ndarray) -> np.ndarray:
    return cv2.transform(image, np.ones((1, 3), np.float32))


def _channel_sums(first: np.ndarray, second: np.ndarray) -> tuple[float, ...]:
    return cv2.sumElems(cv2.multiply(first, second))[:3]
