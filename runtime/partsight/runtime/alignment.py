"""Alignment: where a golden image lies in a frame, to a fraction of a pixel.

A fixed camera sees a part shifted and turned, never larger or smaller: a part of another size is another part. A
camera that looks down at an angle sees a part that is tilted by a degree stretched along the picture's vertical and
sheared across it by a percent or two, no more. These five unknowns are found from coarse to fine by inverse
compositional image alignment (Baker and Matthews, "Lucas-Kanade 20 Years On", IJCV 56, 2004), which needs the golden
image's gradients only, once; the gain of the light is solved along with them (ibid., part 3), and stretch and shear
are held back by a prior (ibid., part 4).
"""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from partsight.runtime.images import Pixels
from partsight.runtime.session import FloatArray

LEVELS_PX = (32, 64, 128)
"""Longest side at each level, coarse to fine."""

_SMOOTHING_PX = 1.0
_LARGEST_STEP = 0.05  # of the longest side, and in radians: beyond it the linearisation says nothing
_SMALLEST_STEP = 2e-4  # 0.03 px at the finest level
_FARTHEST = 0.15  # of the longest side, and in radians: no frame of a controlled line lies there
_STIFFNESS = 180.0  # grey levels² a pixel that a stretch or shear of 1 must explain away; see `Update`


@dataclass(frozen=True)
class Pose:
    """Where a golden image lies in a frame.

    Attributes:
        x, y: shift of its centre to the right and down, in shares of the longest side.
        angle: in radians, clockwise as seen on the picture.
        shear: shift to the right of a point below the centre, in shares of its distance.
        stretch: along the picture's vertical, 0 for none.
    """

    x: float = 0.0
    y: float = 0.0
    angle: float = 0.0
    shear: float = 0.0
    stretch: float = 0.0

    @property
    def deformation(self) -> float:
        """Shear and stretch together, as a share."""
        return math.hypot(self.shear, self.stretch)

    def linear(self) -> tuple[float, float, float, float]:
        """Return the (2, 2) part, row by row: first shear and stretch, then the turn."""
        cosine, sine, height = math.cos(self.angle), math.sin(self.angle), 1 + self.stretch
        return cosine, cosine * self.shear - sine * height, sine, sine * self.shear + cosine * height

    def after_inverse_of(self, step: "Pose") -> "Pose":
        """Return this pose applied after the inverse of a small one; a change of size by their product is dropped."""
        a, b, c, d = self.linear()
        e, f, g, h = step.linear()
        size = e * h - f * g
        a, b, c, d = (a * h - b * g) / size, (b * e - a * f) / size, (c * h - d * g) / size, (d * e - c * f) / size
        angle = math.atan2(c, a)
        cosine, sine = math.cos(angle), math.sin(angle)
        return Pose(
            self.x - a * step.x - b * step.y,
            self.y - c * step.x - d * step.y,
            angle,
            cosine * b + sine * d,
            cosine * d - sine * b - 1,
        )

    def to_matrix(self, height: int, width: int) -> FloatArray:
        """Return the (2, 3) float32 that maps a pixel of the golden image to one of the frame, both of this size."""
        longest, center_x, center_y = max(height, width), (width - 1) / 2, (height - 1) / 2
        a, b, c, d = self.linear()
        return np.array(
            [
                [a, b, self.x * longest + center_x - a * center_x - b * center_y],
                [c, d, self.y * longest + center_y - c * center_x - d * center_y],
            ],
            np.float32,
        )


@dataclass(frozen=True)
class Update:
    """Maps the difference between a moved frame and a golden image to a step.

    Attributes:
        slopes: (unknowns + 1, height, width) float32: its derivatives by each unknown; the last is itself, by gain.
        inverse: (unknowns + 1, unknowns + 1) float32.
        prior: (unknowns + 1, 2) by which shear and stretch so far draw back towards 0.
    """

    slopes: FloatArray
    inverse: FloatArray
    prior: FloatArray

    @classmethod
    def of(cls, golden: FloatArray, *, with_tilt: bool, out: FloatArray | None = None) -> "Update":
        """Make a golden image's level ready.

        Args:
            golden: (height, width) float32.
            with_tilt: whether shear and stretch are unknown as well.
            out: (6 with tilt, else 4, height, width) float32 for the slopes; a new one if None.
        """
        unknowns = 5 if with_tilt else 3
        right, down = centred(*golden.shape)
        images = np.empty((unknowns + 1, *golden.shape), np.float32) if out is None else out
        by_x, by_y = images[:2]
        for image, axis in ((by_x, (1, 0)), (by_y, (0, 1))):
            cv2.Sobel(golden, cv2.CV_32F, *axis, dst=image, scale=max(golden.shape) / 8)
        np.multiply(right, by_y, out=images[2])
        images[2] -= down * by_x
        if with_tilt:
            np.multiply(down, by_x, out=images[3])
            np.multiply(down, by_y, out=images[4])
        images[-1] = golden
        slopes = images.reshape(unknowns + 1, -1)
        square = np.empty((unknowns + 1, unknowns + 1))
        for row, slope in enumerate(slopes):  # a product of an array with itself takes OpenBLAS three times as long
            square[row, row:] = square[row:, row] = slopes[row:] @ slope
        # A picture without structure says nothing of the pose: then the step is 0 instead of a division by 0.
        diagonal = square.ravel()[:: len(square) + 1]
        diagonal *= 1 + 1e-4
        diagonal += 1e-3
        stiffness = _STIFFNESS * golden.size
        diagonal[3:unknowns] += stiffness
        inverse = np.linalg.inv(square)
        return cls(images, inverse.astype(np.float32), (stiffness * inverse[:, 3:unknowns]).astype(np.float32))

    @property
    def golden(self) -> FloatArray:
        """(height, width) float32."""
        golden: FloatArray = self.slopes[-1]
        return golden

    def step(self, difference: FloatArray, pose: Pose) -> Pose:
        """Return the step, at most as long as the linearisation holds."""
        values = self.inverse @ (self.slopes.reshape(len(self.slopes), -1) @ difference.ravel())
        if self.prior.shape[1]:
            values += self.prior @ np.array([pose.shear, pose.stretch], np.float32)
        *moves, gain = values.tolist()
        gain = max(1 + gain, 0.5)
        return Pose(*[max(-_LARGEST_STEP, min(_LARGEST_STEP, move / gain)) for move in moves])


@functools.lru_cache(8)
def centred(height: int, width: int) -> tuple[FloatArray, FloatArray]:
    """Return the pixels' places from the centre in shares of the longest side: (1, width) right, (height, 1) down."""
    longest = max(height, width)
    right, down = (
        ((np.arange(size, dtype=np.float32) - (size - 1) / 2) / longest).astype(np.float32) for size in (width, height)
    )
    right.flags.writeable = down.flags.writeable = False  # all callers share them
    return right[None], down[:, None]


def pyramid(image_bgr: Pixels) -> tuple[FloatArray, ...]:
    """Return an image as grey, smoothed float32 at each level, coarse to fine.

    Args:
        image_bgr: (height, width, 3) uint8, its longest side at least that of the finest level.
    """
    return tuple(reversed(list(_fine_to_coarse(image_bgr))))


def finest(image_bgr: Pixels) -> FloatArray:
    """Return the last level of `pyramid` alone."""
    return next(_fine_to_coarse(image_bgr))


def _fine_to_coarse(image_bgr: Pixels) -> Iterator[FloatArray]:
    grey = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY)
    for longest in reversed(LEVELS_PX):
        grey = np.asarray(cv2.resize(grey, level_size(image_bgr.shape, longest), interpolation=cv2.INTER_AREA))
        yield np.asarray(cv2.GaussianBlur(grey.astype(np.float32), (0, 0), _SMOOTHING_PX), np.float32)


def level_size(shape: Sequence[int], longest: int) -> tuple[int, int]:
    """Return (width, height) of an image of `shape` (height, width, …) when its longest side is `longest` px."""
    scale = longest / max(shape[:2])
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def align_coarse(frame: Sequence[FloatArray], coarse: Update, middle: Update) -> Pose:
    """Find a pose from nothing, on the levels before the finest; the nominal one where that leads nowhere.

    Args:
        frame: of `pyramid`.
        coarse, middle: of a golden image of the same size, without tilt.
    """
    pose = Pose()
    for level, update in ((frame[0], coarse), (frame[1], middle)):
        pose = _iterate(level, update, pose, most=8)
    return pose if max(abs(pose.x), abs(pose.y), abs(pose.angle)) < _FARTHEST else Pose()


def align_middle(frame: Sequence[FloatArray], middle: Update, start: Pose) -> Pose:
    """Refine a pose that is right to a few pixels, on the level before the finest."""
    return _iterate(frame[1], middle, start, most=4)


def align_fine(frame: Sequence[FloatArray], fine: Update, start: Pose) -> Pose:
    """Refine a pose to a fraction of a pixel, shear and stretch included, on the finest level."""
    return _iterate(frame[2], fine, start, most=8)


def _iterate(image: FloatArray, update: Update, pose: Pose, most: int) -> Pose:
    for _ in range(most):
        step = update.step(np.subtract(warp(image, pose), update.golden), pose)
        pose = pose.after_inverse_of(step)
        if max(abs(step.x), abs(step.y), abs(step.angle), step.deformation) < _SMALLEST_STEP:
            break
    return pose


def warp(image: FloatArray, pose: Pose) -> FloatArray:
    """Return a frame as it would be if the part lay as in the golden image; what is out of view repeats the border."""
    height, width = image.shape[:2]
    moved = cv2.warpAffine(
        image,
        pose.to_matrix(height, width),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(moved, np.float32)
