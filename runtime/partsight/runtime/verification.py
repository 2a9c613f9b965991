"""Verification: the second stage. The frame is laid over the golden images of a shortlist and compared with each.

A network that pools its features hardly sees what tells 11 pins from 12. Laid over each other, the two pictures differ
in a whole pin. The comparison allows for what a controlled line varies (pose, brightness and colour of the light,
noise, a little blur) and for nothing else.
"""

import itertools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import cv2
import msgspec
import numpy as np

from partsight.runtime.alignment import Pose, Update, align_coarse, align_fine, align_middle, pyramid, warp
from partsight.runtime.images import Pixels
from partsight.runtime.preprocess import PreprocessSpec
from partsight.runtime.references import Reference, References, channel_sums, inner, smooth, square_sum
from partsight.runtime.screening import unexplained
from partsight.runtime.selection import best_first
from partsight.runtime.session import FloatArray

LONGEST_PX = 192
"""Longest side of references: enough for the pitch of a pin, and a comparison in a millisecond."""

_SPOT_SHARE = 1 / 21  # of the longest side: about a pin of a long header
_WORST_SHARE = 0.01  # of the pixels
_FEW = 3  # candidates where two judges name the same
_LEAST = 2  # compared in any case, for the lead of one over the other
_HOPELESS = 8.0  # times the least difference: none from there on came within 0.15 of the best's agreement in 5,696
_NOISE_LEVELS = 0.7  # of 255: what noise leaves of a frame at the middle level
_LARGEST_GAIN = 1.4  # by which light may differ from the golden image's

Count = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Positive = Annotated[float, msgspec.Meta(ge=1e-6, le=1e6)]  # its square is a number, and not 0
Side = Annotated[int, msgspec.Meta(ge=32, le=LONGEST_PX)]


class VerificationSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How frames are compared with golden images; travels with the package.

    Attributes:
        height, width: of the references in the package, in pixels.
        shortlist: how many candidates are looked at.
        outlined: how many of those are the best by their outlines, where the package has them; the others are the
            network's best.
        screened: how many of those are aligned one by one.
        finalists: how many of those are compared in full.
        tolerance_levels: difference that noise and light explain, of 255 grey levels.
        tolerance_px: misplacement of an edge that pose and blur explain, in pixels of a reference.
        tolerance_tilt: stretch and shear that a tilted part shows a camera that looks down at an angle, as a share.
        least_margin: by which the best agreement must lead the second: within it, two golden images fit equally well.
        clear_margin: in a package without outlines, from this lead of the network's best score on its two best
            candidates are compared first.
    """

    height: Side
    width: Side
    shortlist: Count = 32
    outlined: Count = 20
    screened: Count = 12
    finalists: Count = 5
    tolerance_levels: Positive = 6.0
    tolerance_px: Positive = 0.3
    tolerance_tilt: Positive = 0.018
    least_margin: Annotated[float, msgspec.Meta(ge=0)] = 0.03
    clear_margin: float = 1e9

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the references."""
        return self.height, self.width

    def preprocess(self, spec: PreprocessSpec) -> PreprocessSpec:
        """Return the preprocessing of frames for the comparison: that of the network, at the references' size."""
        return msgspec.structs.replace(spec, height=self.height, width=self.width)


@dataclass(frozen=True)
class Verified:
    """What the comparison says of one frame.

    Attributes:
        classes: the finalists, best first.
        agreement: of each, in (0, 1]: 1 / (1 + worst difference in multiples of the tolerance).
        poses: where each golden image lies in the frame.
    """

    classes: tuple[int, ...]
    agreement: tuple[float, ...]
    poses: tuple[Pose, ...]

    @property
    def margin(self) -> float:
        """Lead of the best agreement over the second; the agreement itself where only one part was taught."""
        return self.agreement[0] - (self.agreement[1] if len(self.agreement) > 1 else 0.0)

    def is_accepted(self, threshold: float, spec: VerificationSpec) -> bool:
        """Say whether the best golden image agrees well enough, and no other one as well."""
        return self.agreement[0] >= threshold and self.margin >= spec.least_margin


def verify(
    frame: Pixels, score: FloatArray, references: References, spec: VerificationSpec, threshold: float = math.inf
) -> Verified:
    """Compare a frame with the golden images of the best candidates, by the network and by their outlines.

    Where both name the same part, it is compared with the next of each, in a third of the time. Else those are left out
    that differ much more than the best so far. If none agrees well enough, the whole shortlist is compared after all:
    what is refused was always looked at in full.

    Args:
        frame: (spec.height, spec.width, 3) uint8 BGR.
        score: (classes,) float32, the network's.
        references: of the classes.
        spec: how to compare.
        threshold: agreement from which on a frame is accepted.
    """
    levels, smoothed = pyramid(frame), smooth(frame)
    shortlist = _shortlist(levels, score, references, spec)
    looks = _looks(levels, smoothed, shortlist.order, shortlist.starts, references, spec)
    if shortlist.few and len(shortlist.order) > 2:
        few = _looks(levels, smoothed, shortlist.few, shortlist.starts, references, spec)
        looks = itertools.chain([next(few)], looks)
    for verified in looks:
        if verified.is_accepted(threshold, spec):
            break
    return verified


@dataclass(frozen=True)
class _Shortlist:
    """The candidates of a frame.

    Attributes:
        order: all classes, best first.
        few: where one stands out, it and those most like it; else none.
        starts: of one of so many, the first, the golden image lies in the frame about as that of the right one does.
    """

    order: list[int]
    few: list[int]
    starts: int


def _shortlist(
    levels: Sequence[FloatArray], score: FloatArray, references: References, spec: VerificationSpec
) -> _Shortlist:
    by_network: list[int] = best_first(score, spec.shortlist).tolist()
    if references.outlines is None:
        lead = float(score[by_network[0]] - score[by_network[:2][-1]])
        return _Shortlist(by_network, by_network[:2] if lead >= spec.clear_margin else [], 1)
    by_outline = references.outlines.best_first(levels[0], spec.outlined)
    first = [index for pair in zip(by_outline[:2], by_network[:2], strict=False) for index in pair]
    order = list(dict.fromkeys([*first, *by_outline, *by_network]))[: spec.shortlist]
    if by_outline[0] == by_network[0]:  # two judges that know nothing of each other: neither alone is sure enough
        return _Shortlist(order, order[:_FEW], 1)
    return _Shortlist(order, [], 2)


def _looks(
    levels: Sequence[FloatArray],
    smoothed: FloatArray,
    order: Sequence[int],
    starts: int,
    references: References,
    spec: VerificationSpec,
) -> Iterator[Verified]:
    """Lay the frame over candidates more and more exactly, each time over fewer: first the hopeful ones, then all.

    Each begins at the start from which it explains more of the frame: one may be the pose of a part unlike it.
    """
    coarse, goldens = references.levels(order)
    # The same for all: candidates are siblings as a rule, and all golden images lie in the nominal pose.
    poses = [
        align_coarse(levels, *(Update.of(level, with_tilt=False) for level in pair))
        for pair in zip(coarse[:starts], goldens[:starts], strict=True)
    ]
    waiting = deque(_screened(levels[1], goldens, poses, spec.screened))
    aligned: list[_Aligned] = []
    compared: dict[int, tuple[float, int, Pose]] = {}
    for hopeless in (_HOPELESS, math.inf):
        while waiting and (len(aligned) < _LEAST or waiting[0].unexplained <= _limit(aligned, hopeless)):
            candidate = waiting.popleft()
            golden = goldens[candidate.place]
            pose = align_middle(levels, Update.of(golden, with_tilt=False), candidate.start)
            aligned.append(_Aligned(_difference(levels[1], golden, pose), order[candidate.place], pose))
        aligned.sort(key=lambda item: item.difference)
        limit = _limit(aligned, hopeless)
        count = max(_LEAST, sum(item.difference <= limit for item in aligned))
        finalists = aligned[: min(count, spec.finalists)]
        for item in finalists:
            if item.index not in compared:
                reference = references[item.index]
                pose = align_fine(levels, reference.fine, item.pose)
                compared[item.index] = _agreement(smoothed, reference, pose, spec), item.index, pose
        ranked = sorted((compared[item.index] for item in finalists), key=lambda item: -item[0])
        agreement, classes, found = zip(*ranked, strict=True)
        yield Verified(classes, agreement, found)


@dataclass(frozen=True)
class _Screened:
    """A candidate's place on the shortlist, how far it is from all that the frame may look like, where to begin."""

    unexplained: float
    place: int
    start: Pose


@dataclass(frozen=True)
class _Aligned:
    """A candidate laid over the frame to a pixel or so: its mean square difference, its class and where it lies."""

    difference: float
    index: int
    pose: Pose


def _limit(aligned: Sequence[_Aligned], hopeless: float) -> float:
    """Return the difference above which none has a chance against the best so far.

    What screening leaves of a candidate unexplained is, to first order, the least by which it can differ.
    """
    return hopeless * max(min(item.difference for item in aligned), _NOISE_LEVELS**2)


def _screened(frame: FloatArray, goldens: FloatArray, poses: Sequence[Pose], count: int) -> Iterator[_Screened]:
    """Yield the golden images that could fit best, those first that leave least of the frame unexplained."""
    if len(goldens) <= count and len(poses) == 1:
        yield from (_Screened(0.0, place, poses[0]) for place in range(len(goldens)))
        return
    left = np.stack([unexplained(warp(frame, pose), goldens) for pose in poses])
    least = left.min(axis=0)
    for place in np.argsort(least, kind="stable")[:count].tolist():
        yield _Screened(float(least[place]), place, poses[int(left[:, place].argmin())])


def _difference(frame: FloatArray, golden: FloatArray, pose: Pose) -> float:
    """Return the mean square difference of grey images, after the gain that makes it least."""
    moved, golden = (inner(image).ravel() for image in (warp(frame, pose), golden))
    gain = _within(float(np.vdot(golden, moved)) / max(float(np.vdot(golden, golden)), 1.0))
    rest = moved / gain - golden
    return float(np.vdot(rest, rest)) / rest.size


def _agreement(frame: FloatArray, reference: Reference, pose: Pose, spec: VerificationSpec) -> float:
    """Return how well a frame agrees with a golden image where they agree least.

    The mean over all pixels would drown a missing pin in a large tray, a single pixel would be noise: the worst
    spots count, and the mean to a lesser degree.
    """
    moved = inner(warp(frame, pose))
    # Gain only: with an offset as well, a red part on a grey tray could be taken for a blue one.
    gains = [
        1 / _within(product / max(square, 1.0))
        for product, square in zip(channel_sums(moved, reference.image), reference.squares, strict=True)
    ]
    rest = cv2.blur(cv2.subtract(cv2.transform(moved, np.diag(gains)), reference.image), (3, 3))
    by_edge = spec.tolerance_px**2
    tolerance = cv2.addWeighted(reference.slope, by_edge, reference.slope, 0, spec.tolerance_levels**2)
    excess = cv2.divide(square_sum(rest), tolerance, scale=1 / 3)
    spot = max(3, round(max(frame.shape[:2]) * _SPOT_SHARE))
    spots = np.asarray(cv2.blur(excess, (spot, spot)), np.float32).ravel()
    worst = float(spots[best_first(spots, max(1, round(len(spots) * _WORST_SHARE)))].mean())
    tilt = 1 + (pose.deformation / spec.tolerance_tilt) ** 2
    return 1 / (1 + math.sqrt(worst * tilt))


def _within(gain: float) -> float:
    return min(max(gain, 1 / _LARGEST_GAIN), _LARGEST_GAIN)
